// What keeps packets of workloads' interfaces back until programs are attached there: table `inet ocicat`, of
// a few rules. An interface may come, rise and be routed by somebody else before the agent has heard of it.
//
//   rules    from or to an interface that is a workload's by its name and has no programs yet: dropped; what
//            is taken and refused whatever policy says (edges/); what a program says that untracked policy allows is
//            not tracked by the kernel; where the kernel asks no programs at its hooks (host_hooks.h), what they
//            refuse there
//   design   docs/design/ebpf.md#guard
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/edges/edges.h"
#include "engine/host_state.h"
#include "kernel/nft_small_table.h"

namespace ocicat::dataplane::ebpf {

// A program that rules ask: its descriptor, which only the making of the rule needs, and its number in the kernel.
struct AskedProgram {
  int program = -1;
  std::uint32_t id = 0;

  bool operator==(const AskedProgram& other) const { return id == other.id; }
};
// What says which packets the kernel is not to track.
struct UntrackedPrograms {
  AskedProgram in, out;

  bool operator==(const UntrackedPrograms&) const = default;
};

// What judges at the host's hooks.
struct ProgramsAtHooks {
  AskedProgram input, forward, output;

  bool operator==(const ProgramsAtHooks&) const = default;
};

struct GuardState {
  HostSettings settings;
  std::set<std::string> names;  // of workloads' interfaces that no prefix of the settings covers
  std::set<int> attached;       // indexes of interfaces with programs
  HostAddresses hosts;          // the others of the cluster
  std::optional<UntrackedPrograms> untracked{};
  std::optional<ProgramsAtHooks> at_hooks{};

  bool operator==(const GuardState&) const = default;
};

class Guard {
 public:
  // Borrows the kernel.
  explicit Guard(kernel::nft::Kernel& kernel) : kernel_(kernel), table_(kernel) {}

  // Makes it so, in one transaction. Whatever else stands in the table goes.
  Result<void> sync(const GuardState& wanted);
  // Hosts that come and go, where nothing else has changed. Cost: theirs.
  Result<void> sync_hosts(const Changes<IpAddress, network::Peer>& peers);
  // Has these asked from now on, whatever else stands in the table, and be it nftables' policy: packets are with them
  // when this returns, all of them.
  Result<void> ask(const ProgramsAtHooks& programs);
  // Whether what stands in its place is the table by which nftables enforces policy (nftables/).
  Result<bool> stands_for_policy();
  // Somebody else may have changed it.
  void distrust() { table_.distrust(); }
  std::uint64_t writes() const { return writes_ + table_.writes(); }

 private:
  kernel::nft::Kernel& kernel_;
  kernel::nft::SmallTableKeeper table_;
  GuardState there_;
  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::dataplane::ebpf
