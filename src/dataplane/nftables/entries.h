// What a HostState's parts become in the kernel's maps: one Entry, a key and its answer, for each fact.
#pragma once

#include <string_view>
#include <vector>

#include "dataplane/nftables/log_chains.h"
#include "dataplane/nftables/maps.h"
#include "engine/host_state.h"
#include "kernel/nft.h"
#include "policy/tables.h"

namespace ocicat::dataplane {

struct Entry {
  Map map{};
  kernel::nft::ElementKey key;
  kernel::nft::ElementKey end;  // interval maps: the first key after it; empty: the interval is open
  kernel::nft::ElementData data;

  auto operator<=>(const Entry&) const = default;
};
using Entries = std::vector<Entry>;

// Whether both stand at one place: two such cannot be in the kernel together.
bool same_place(const Entry& a, const Entry& b);

// The 8 bytes at the end of a cell.
kernel::nft::ElementKey answer_key(Answer answer);
// Of an outcome; deny where the table names one that is not there.
kernel::nft::ElementKey answer_of(const policy::Outcome* outcome);

// Of a table that does not cover every key, the rest asks the base table.
void add_cells(policy::TableId id, const policy::Table& table,
               const std::map<policy::OutcomeId, policy::Outcome>& outcomes, Entries& entries);
Entry program_entry(policy::ProgramId id, const policy::Program& program);
Entry table_entry(const policy::TableKey& key, policy::TableId table);
Entry projection_entry(const policy::ProjectionKey& key, policy::ProjectionId projection);
Entry class_entry(const IpAddress& address, policy::ClassId address_class);
// The addresses from `first` to `last`, both included, have this net for their longest. Nothing: they are in
// none.
Entry range_entry(Family family, const IpAddress& first, const IpAddress& last,
                  const std::optional<Prefix>& net);
Entry net_entry(const Prefix& net, policy::ClassId address_class);
// Says that a class which exact addresses have is that class.
Entry exact_entry(Family family, policy::ClassId address_class);
bool is_exact(const Entry& entry);
Entry dictionary_entry(const policy::DictionaryKey& key, std::uint32_t id);
Entry interface_entry(std::string_view interface_name);
Entry host_entry(const IpAddress& address);
// The program of an interface's own address. Nothing for a name that no interface can have.
std::optional<Entry> endpoint_entry(policy::Direction direction, std::string_view interface_name,
                                    const IpAddress& address, policy::ProgramId program);

// The host endpoint of an interface; of all that have none where the name is empty, and then 0 is nobody.
// Nothing for a name that no interface can have.
std::optional<Entry> host_interface_entry(std::string_view interface_name, std::uint32_t host_endpoint);
Entry host_chain_entry(std::uint32_t host_endpoint, Family family, policy::Hook hook, policy::ChainId chain,
                       policy::VocabularyId vocabulary);
// Nothing for a name that no interface can have.
std::optional<Entry> source_entry(std::string_view interface_name, const Prefix& source);
std::optional<Entry> source_chain_entry(std::string_view interface_name, Family family, policy::ChainId chain,
                                        policy::VocabularyId vocabulary);
Entry chain_program_entry(const policy::ChainKey& key, policy::ProgramId program);

// An answer leads to the log chain.
void add_log_answers(const LogId& id, Entries& entries);
// What is there whatever the state: fixed answers, catch-alls, the table of those who have none, the class of
// no net.
Entries constant_entries();

Entries step_entries(std::uint32_t step);
// The number that a kernel's entries carry; 0 where there is none.
std::uint32_t step_of(const Entries& entries);

// The dictionary back from the kernel. kInvalid where the elements are not of this layout.
Result<policy::Dictionary> dictionary_of(const std::vector<kernel::nft::Element>& elements);

// How a net is written in one address: the one in its middle, its prefix followed by a one and zeros. No
// other net has it, and nobody has all zeros, which stands for no net. Not for single addresses.
kernel::nft::ElementKey net_key(Family family, const std::optional<Prefix>& net);

// Entries of one map back from the kernel, in order. kInvalid where an interval has no beginning or no end.
Result<Entries> entries_of(Map map, std::vector<kernel::nft::Element> elements);
// And forth: an interval's start directly before its end.
void add_elements(const Entry& entry, std::vector<kernel::nft::Element>& elements);

}  // namespace ocicat::dataplane
