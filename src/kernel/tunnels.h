// VXLAN interfaces of a network namespace, and what they know of the other ends; and the one of IPIP.
//
//   source   linux/if_link.h (IFLA_VXLAN_*, IFLA_IPTUN_*), linux/neighbour.h; ip-link(8), bridge(8)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "base/result.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

// What cannot be changed while the interface is there.
struct VxlanConfig {
  MacAddress mac;
  IpAddress local;         // packets go from this address of the host
  int parent = 0;          // link that has it; 0: whichever
  std::uint32_t vni = 0;   // 24 bits
  std::uint16_t port = 0;  // UDP, of the other ends as well

  bool operator==(const VxlanConfig&) const = default;
};

// Both count.
struct PortRange {
  std::uint16_t first = 32768, last = 60999;

  bool operator==(const PortRange&) const = default;
};

struct VxlanLink {
  int index = 0;
  VxlanConfig config;
  std::uint32_t mtu = 0;
  bool up = false;

  bool operator==(const VxlanLink&) const = default;
};

struct IpipLink {
  int index = 0;
  std::uint32_t mtu = 0;
  bool up = false;
  bool ours = false;  // raise_ipip() has brought it up

  bool operator==(const IpipLink&) const = default;
};

// An address behind a link, and its Ethernet address there: never asked for, never forgotten.
struct Neighbour {
  IpAddress address;
  MacAddress mac;

  auto operator<=>(const Neighbour&) const = default;
};

// The host to which frames for an Ethernet address go.
struct ForwardingEntry {
  MacAddress mac;
  IpAddress host;

  auto operator<=>(const ForwardingEntry&) const = default;
};

class TunnelKernel {
 public:
  virtual ~TunnelKernel() = default;

  // Nothing: there is no link of the name. kInvalid: it is there, and no VXLAN interface.
  virtual Result<std::optional<VxlanLink>> vxlan(const std::string& name) = 0;
  // The link that has an address, and its MTU. kNotFound: none has.
  struct Parent {
    int index = 0;
    std::uint32_t mtu = 0;
  };
  virtual Result<Parent> parent(const IpAddress& address) = 0;
  // From which the kernel takes the source ports of what goes through its tunnels.
  virtual Result<PortRange> source_ports() = 0;
  virtual Result<void> create(const std::string& name, const VxlanConfig& config) = 0;
  // Nothing: there is no link of the name. kInvalid: it is there, and is no IPIP interface.
  virtual Result<std::optional<IpipLink>> ipip(const std::string& name) = 0;
  // One for all other ends; where the kernel makes it by itself, with its module, that one. kUnsupported: the
  // kernel has no IPIP.
  virtual Result<void> create_ipip(const std::string& name) = 0;
  // As raise(); and marks it as ours, by its alias, until lower_ipip() takes it down.
  virtual Result<void> raise_ipip(int link, std::uint32_t mtu) = 0;
  virtual Result<void> lower_ipip(int link) = 0;
  virtual Result<void> remove(int link) = 0;
  // Brings it up, with this MTU.
  virtual Result<void> raise(int link, std::uint32_t mtu) = 0;
  // Whether this kernel is known to make wrong checksums of what it sends through VXLAN interfaces (before
  // Linux 5.7, with some drivers).
  virtual bool breaks_checksums() const = 0;
  // Whether checksums of what a link sends are left to what carries it; and leaves them to it or not.
  virtual Result<bool> offloads_checksums(const std::string& name) = 0;
  virtual Result<void> offload_checksums(const std::string& name, bool on) = 0;
  // The link's own addresses, those of the kernel's making left out.
  virtual Result<std::set<IpAddress>> addresses(int link) = 0;
  virtual Result<void> add_address(int link, const IpAddress& address) = 0;
  virtual Result<void> remove_address(int link, const IpAddress& address) = 0;

  // Permanent ones. What is added replaces what is there for the same address, or the same MAC.
  virtual Result<std::set<Neighbour>> neighbours(int link) = 0;
  virtual Result<void> add(int link, const Neighbour& neighbour) = 0;
  virtual Result<void> remove(int link, const Neighbour& neighbour) = 0;
  virtual Result<std::set<ForwardingEntry>> forwarding(int link) = 0;
  virtual Result<void> add(int link, const ForwardingEntry& entry) = 0;
  virtual Result<void> remove(int link, const ForwardingEntry& entry) = 0;
};

class NetlinkTunnels final : public TunnelKernel {
 public:
  static Result<std::unique_ptr<NetlinkTunnels>> open();
  explicit NetlinkTunnels(NetlinkSocket socket) : socket_(std::move(socket)) {}

  Result<std::optional<VxlanLink>> vxlan(const std::string& name) override;
  Result<Parent> parent(const IpAddress& address) override;
  Result<PortRange> source_ports() override;
  Result<void> create(const std::string& name, const VxlanConfig& config) override;
  Result<std::optional<IpipLink>> ipip(const std::string& name) override;
  Result<void> create_ipip(const std::string& name) override;
  Result<void> raise_ipip(int link, std::uint32_t mtu) override;
  Result<void> lower_ipip(int link) override;
  Result<void> remove(int link) override;
  Result<void> raise(int link, std::uint32_t mtu) override;
  bool breaks_checksums() const override;
  Result<bool> offloads_checksums(const std::string& name) override;
  Result<void> offload_checksums(const std::string& name, bool on) override;
  Result<std::set<IpAddress>> addresses(int link) override;
  Result<void> add_address(int link, const IpAddress& address) override;
  Result<void> remove_address(int link, const IpAddress& address) override;
  Result<std::set<Neighbour>> neighbours(int link) override;
  Result<void> add(int link, const Neighbour& neighbour) override;
  Result<void> remove(int link, const Neighbour& neighbour) override;
  Result<std::set<ForwardingEntry>> forwarding(int link) override;
  Result<void> add(int link, const ForwardingEntry& entry) override;
  Result<void> remove(int link, const ForwardingEntry& entry) override;

 private:
  // The link's message is valid while `visit` is called; whether there is one.
  Result<bool> find(const std::string& name, const std::function<void(MessageView)>& visit);

  NetlinkSocket socket_;
};

// Hears of ends that go, by whomever: from some links' neighbours and forwarding.
class EndMonitor {
 public:
  static Result<EndMonitor> open();

  int fd() const { return socket_.fd(); }
  // Of these links from here on, and of no others: workloads' neighbours come and go all the time, so the kernel drops
  // unread what it would tell of theirs. Before the first call of all links, so that nothing is missed while they are
  // found; what goes from a new one before it is among them is told by nobody.
  Result<void> watch(const std::set<int>& links);
  struct Gone {
    std::vector<IpAddress> neighbours{};
    std::vector<MacAddress> forwarding{};
  };
  // Reads what has arrived. kExhausted: messages were lost.
  Result<Gone> read();

 private:
  explicit EndMonitor(NetlinkSocket socket) : socket_(std::move(socket)) {}

  NetlinkSocket socket_;
  std::optional<std::set<int>> links_;
};

}  // namespace ocicat::kernel
