// What this kernel can do for eBPF, found by asking it rather than by its version.
//
//   writes   nothing stays, but for a module
//   errors   of asking; what the kernel does not know is no error
//   source   bpf(2); kernel/bpf/syscall.c
#pragma once

#include "base/result.h"

namespace ocicat::kernel::bpf {

struct Abilities {
  bool types = false;      // it tells of its own types (BTF), by which programs find what they read
  bool tcx = false;        // links at interfaces (Linux 6.6); else traffic control's filters, which are older
  bool netfilter = false;  // programs at netfilter hooks, fragments put together before them (6.6)
  bool conntrack = false;  // its connection tracking answers programs, and tells of its types (5.18)
  bool asking = false;     // rules of nftables may ask programs (modules nft_compat and xt_bpf)

  bool operator==(const Abilities&) const = default;
};

// In the network namespace of the caller; without those that are not to be used. Connection tracking that is a
// module is loaded, so that programs can be loaded that ask it; so is what rules need to ask programs.
Result<Abilities> abilities(const Abilities& usable = {true, true, true, true, true});

}  // namespace ocicat::kernel::bpf
