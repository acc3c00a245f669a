// The interface that IPIP packets come and go by: brought up, with the room that there is. The kernel makes
// it with its module, one a network namespace. Where packets go is said by routes alone, so it needs no
// address; it has that of its Node, if that says one.
//
//   writes   only what differs; before the routes that lead through it
//   errors   what failed is tried again at the next sync(). kUnsupported: the kernel has no IPIP
//   end      an interface that is down takes no packet out of its tunnel. So what was brought up here is
//            taken down once no pool asks for it, after a restart as well: it carries our mark. One that
//            somebody else has brought up stays up, with the addresses that it has
//   source   semantics.md 4.3; net/ipv4/ipip.c
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/overlay/overlay.h"
#include "engine/host_state.h"
#include "kernel/tunnels.h"

namespace ocicat::dataplane {

inline constexpr const char* kIpipName = "tunl0";
inline constexpr std::uint32_t kIpipOverhead = 20;  // what a packet grows by: an IPv4 header

class Ipip final : public Overlay {
 public:
  // Borrows the kernel.
  explicit Ipip(kernel::TunnelKernel& kernel) : kernel_(kernel) {}

  void want(const std::optional<IpipDevice>& device);
  // Somebody else may have changed it.
  void distrust() { known_ = false; }

  Result<void> sync() override;
  Result<void> retire() override;

 private:
  Result<void> settle();

  kernel::TunnelKernel& kernel_;
  std::optional<IpipDevice> device_;
  bool known_ = false;  // it is as wanted
};

}  // namespace ocicat::dataplane
