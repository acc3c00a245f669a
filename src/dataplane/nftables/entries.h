// What a HostState's parts become in the kernel's maps: one Entry, a key and its answer, for each fact.
#pragma once

#include <string_view>
#include <vector>

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

// Deny where the table names an outcome that is not there.
Answer answer_of(const policy::Outcome* outcome);

void add_cells(policy::TableId id, const policy::Table& table,
               const std::map<policy::OutcomeId, policy::Outcome>& outcomes, Entries& entries);
Entry program_entry(policy::ProgramId id, const policy::Program& program);
Entry table_entry(const policy::TableKey& key, policy::TableId table);
Entry projection_entry(const policy::ProjectionKey& key, policy::ProjectionId projection);
Entry class_entry(const IpAddress& address, policy::ClassId address_class);
Entry unknown_class_entry(Family family);
// The addresses from `first` to `last`, both included.
Entry range_entry(Family family, const IpAddress& first, const IpAddress& last,
                  policy::ClassId address_class);
Entry dictionary_entry(const policy::DictionaryKey& key, std::uint32_t id);
Entry interface_entry(std::string_view interface_name);
// The program of an interface's own address. Nothing for a name that no interface can have.
std::optional<Entry> endpoint_entry(policy::Direction direction, std::string_view interface_name,
                                    const IpAddress& address, policy::ProgramId program);

// The dictionary back from the kernel. kInvalid where the elements are not of this layout.
Result<policy::Dictionary> dictionary_of(const std::vector<kernel::nft::Element>& elements);

// Entries of one map back from the kernel, in order. kInvalid where an interval has no beginning or no end.
Result<Entries> entries_of(Map map, std::vector<kernel::nft::Element> elements);
// And forth: an interval's start directly before its end.
void add_elements(const Entry& entry, std::vector<kernel::nft::Element>& elements);

}  // namespace ocicat::dataplane
