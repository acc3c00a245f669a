// What the rules of lookup_rules.cc would say of a packet, from the elements that a simulated kernel holds:
// one map after the other, as a rule asks them.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "dataplane/nftables/maps.h"
#include "kernel/simulated_nft.h"
#include "policy/tables.h"

namespace ocicat::test {

class KernelLookup {
 public:
  using Elements = kernel::nft::SimulatedKernel::Elements;
  explicit KernelLookup(const Elements& elements) : now_(elements), before_(elements) {}
  // The first `early` lookups find what was before.
  KernelLookup(const Elements& now, const Elements& before, int early)
      : now_(now), before_(before), early_(early) {}

  // Whether there is a table to ask, all the time; where somebody has removed it nothing is judged.
  bool is_there() const;
  // The program of an interface's own address; nothing where packets are dropped without one.
  std::optional<policy::ProgramId> program_of(policy::Direction direction, std::string_view interface_name,
                                              const IpAddress& own);
  // Whether it may beside its own addresses.
  bool may_send_from(std::string_view interface_name, const IpAddress& address);
  // Whether `interface_name`, which has the address `own`, gets or may send the packet from or to `peer`.
  bool passes(policy::Direction direction, std::string_view interface_name, const IpAddress& own,
              const IpAddress& peer, const policy::Packet& packet);
  // What the host endpoint of an interface says at a hook of a packet between two addresses; nothing where
  // nobody is asked.
  std::optional<policy::Verdict> at_host(policy::Hook hook, std::string_view interface_name,
                                         const IpAddress& own, const IpAddress& peer,
                                         const policy::Packet& packet);

 private:
  using Data = std::optional<kernel::nft::ElementData>;
  const Elements& elements() { return early_-- > 0 ? before_ : now_; }
  Data find(dataplane::Map map, const kernel::nft::ElementKey& key);
  Data find_interval(dataplane::Map map, const kernel::nft::ElementKey& key);
  // Each nothing where something is missing, or the packet is none that the rule is for: the rule ends.
  std::optional<std::uint32_t> class_of(const IpAddress& peer, bool exact_only);
  // The answer for a peer, once somebody has found the program.
  using FindProgram = std::function<std::optional<std::uint32_t>()>;
  std::optional<kernel::nft::ElementKey> decision(const FindProgram& program, dataplane::Map answers,
                                                  const IpAddress& peer, const policy::Packet& packet,
                                                  bool exact_only);
  struct Chain {
    std::uint32_t id = 0;
    std::uint32_t vocabulary = 0;
  };
  std::optional<std::uint32_t> program_in(const Chain& chain, const IpAddress& own);
  std::optional<std::uint32_t> program_of_source(std::string_view interface_name, const IpAddress& own);
  std::optional<Chain> chain_at(policy::Hook hook, std::string_view interface_name, Family family);
  std::optional<std::uint32_t> program_at(policy::Hook hook, std::string_view interface_name,
                                          const IpAddress& own);
  bool asks_nobody(policy::Hook hook, std::string_view interface_name, Family family);
  // Final, or to ask the base table.
  std::optional<kernel::nft::ElementKey> answer(std::uint32_t table, const policy::Packet& packet);

  const Elements& now_;
  const Elements& before_;
  int early_ = 0;
};

}  // namespace ocicat::test
