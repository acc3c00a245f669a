// The VXLAN interface of one family: holds it, and what it knows of the other ends, to what is desired.
//
//   writes   only what differs from what the kernel holds; where nothing is known of the kernel, it is read
//   first order    before the routes that lead through it errors   what failed is tried again at the next
//   sync() source   semantics.md 4.3
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/overlay/open_tunnels.h"
#include "dataplane/overlay/overlay.h"
#include "engine/host_state.h"
#include "kernel/tunnels.h"

namespace ocicat::dataplane {

// "vxlan.calico", "vxlan-v6.calico".
const std::string& vxlan_name(Family family);
// What a packet grows by in the tunnel: Ethernet, VXLAN, UDP, IP.
constexpr std::uint32_t vxlan_overhead(Family family) {
  return family == Family::kIpv4 ? 50 : 70;
}

class Vxlan final : public Overlay {
 public:
  // Borrows the kernel.
  Vxlan(kernel::TunnelKernel& kernel, Family family) : kernel_(kernel), family_(family) {}

  void want(const std::optional<VxlanDevice>& device);
  void want(const Changes<IpAddress, network::Peer>& peers);
  // Somebody else may have changed the interface, or what it knows.
  void distrust_device() { device_known_ = false; }
  void distrust_ends() { ends_known_ = false; }

  // O(hosts), where anything has changed.
  Result<void> sync() override;
  Result<void> retire() override;

  // As they are since the last sync(); none where the interface does more with a packet than to put it into
  // one, or where not all is as wanted. Nothing: they are as they have been told.
  std::optional<OpenTunnels> newly_open();

  // The other hosts there are, and of how many of them the kernel knows the end.
  std::size_t hosts() const { return vteps_.size() + without_end_.size(); }
  std::size_t ends() const { return ends_known_ ? there_.forwarding.size() : 0; }

  // What the kernel is kept from doing with it, for people; empty: nothing.
  std::string note() const;

 private:
  // Both ordered by what the kernel knows them by, of which there are no two.
  struct Ends {
    std::vector<kernel::Neighbour> neighbours;
    std::vector<kernel::ForwardingEntry> forwarding;
  };
  Result<void> write(Result<void> done);
  Result<void> settle_device();
  Result<void> settle_offload();
  Result<void> settle_ends();
  Ends wanted_ends() const;

  kernel::TunnelKernel& kernel_;
  Family family_;
  std::optional<VxlanDevice> device_;
  std::map<IpAddress, network::Vtep> vteps_;  // by the host that has it
  std::set<IpAddress> without_end_;           // hosts that have none, or none yet

  bool told_ = false;           // what is open
  bool device_known_ = false;   // it is there as wanted
  bool ends_known_ = false;     // the kernel holds `there_`
  int link_ = 0;                // 0: none
  kernel::VxlanConfig config_;  // of the interface
  kernel::PortRange source_ports_;
  bool offloads_ = true;   // checksums
  bool restores_ = false;  // it is to again
  Ends there_;
};

}  // namespace ocicat::dataplane
