// Which datapath a host has where nobody says which: eBPF where the kernel can run it and nothing speaks
// against it, nftables else.
//
//   in       what the kernel answers; who else translates destinations; whether there are host endpoints
//   out      the datapath, and why, for people
//   design   docs/design/dataplane.md#which-datapath
#pragma once

#include <string>

#include "base/result.h"
#include "dataplane/dataplane.h"
#include "kernel/netlink.h"

namespace ocicat::dataplane {

struct Choice {
  Datapath datapath = Datapath::kNftables;
  std::string reason;

  bool operator==(const Choice&) const = default;
};
Choice choose(const Circumstances& circumstances);

// In the network namespace of the caller: by `chosen_by`, else by all that can be seen but whether there are
// host endpoints, which only the engine knows. Where nothing else speaks against eBPF, its objects are loaded
// to see whether the kernel takes them, and are the options' from then on. What cannot be found out speaks
// against it.
Choice decide(Options& options);
// That part of the circumstances which may change while an agent runs. Where it cannot be seen they stay as
// they are. O(rules of the namespace).
Result<void> look_again(const Options& options, Circumstances& circumstances);
// What nf_tables tells of another table than the agent's: a rule that comes and leads packets elsewhere is known at
// once, without a look. One that goes is left to the next look.
void hear(const Options& options, kernel::MessageView message, Circumstances& circumstances);
// What speaks against eBPF where somebody has named it; empty: nothing.
std::string warning(const Circumstances& circumstances);

}  // namespace ocicat::dataplane
