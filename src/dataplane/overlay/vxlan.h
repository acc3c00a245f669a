// The VXLAN interface of one family: holds it, and what it knows of the other ends, to what is desired.
//
//   writes   only what differs from what the kernel holds; where nothing is known of the kernel, it is read
//            first
//   order    ends come before the routes that lead to them (sync()) and go after these (retire()), as does an
//            interface that is to be another
//   cost     of a change: what it changes; of ends that were distrusted: two dumps
//   errors   what failed is tried again at the next sync()
//   source   semantics.md 4.3
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "dataplane/overlay/end_table.h"
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
  // Whether one of those that have gone from the kernel is wanted there.
  bool misses(const kernel::EndMonitor::Gone& gone) const;

  Result<void> sync() override;
  Result<void> retire() override;
  // The interface has gone to come as another by the next sync().
  bool comes_anew() const { return device_ && !device_known_ && link_ == 0; }

  // How the tunnels have changed since it was asked last; nothing: what the kernel has was never read. An end is
  // there while the kernel knows it and somebody wants it, so one that goes is told of before. The interface is one
  // to go past where it does no more with a packet than to put it into a tunnel, and is as wanted.
  std::optional<TunnelChanges> news();

  // Of the kernel; 0: it is not there, as far as is known.
  int link() const { return link_; }
  // The other hosts there are, and of how many of them the kernel knows the end.
  std::size_t hosts() const { return vteps_.size() + without_end_.size(); }
  std::size_t ends() const { return forwarding_.size(); }

  // What the kernel is kept from doing with it, for people; empty: nothing.
  std::string note() const;

 private:
  Result<void> settle_device();
  Result<void> settle_offload();
  Result<void> learn_ends();
  Result<void> bring_ends();
  Result<void> take_ends_away();
  // With the interface they are gone.
  void forget_ends();
  void note_differing();
  void note_all();
  std::optional<TunnelEnd> end_of(const IpAddress& vtep) const;

  kernel::TunnelKernel& kernel_;
  Family family_;
  std::optional<VxlanDevice> device_;
  boost::unordered_flat_map<IpAddress, network::Vtep> vteps_;  // by the host that has it
  boost::unordered_flat_set<IpAddress> without_end_;           // hosts that have none, or none yet

  EndTable<IpAddress, MacAddress> neighbours_;  // by the VTEP
  EndTable<MacAddress, IpAddress> forwarding_;
  std::set<IpAddress> news_;    // VTEPs of which it is to be told how they are
  TunnelInterface told_;        // as it was told of last
  bool device_known_ = false;   // it is there as wanted
  bool ends_known_ = false;     // the kernel holds what the tables say
  bool ends_read_ = false;      // at least once, or the interface is none of before
  bool brought_ = false;        // the last sync() has come to the ends: what is to go is in the news
  bool leaves_ = false;         // the interface, to come anew: no end of it counts
  int link_ = 0;                // 0: none
  kernel::VxlanConfig config_;  // of the interface
  kernel::PortRange source_ports_;
  bool offloads_ = true;   // checksums
  bool restores_ = false;  // it is to again
};

}  // namespace ocicat::dataplane
