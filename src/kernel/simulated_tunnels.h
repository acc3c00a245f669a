// VXLAN interfaces in memory: for tests that need the kernel's failures.
#pragma once

#include <functional>
#include <map>

#include "kernel/tunnels.h"

namespace ocicat::kernel {

class SimulatedTunnels final : public TunnelKernel {
 public:
  Result<std::optional<VxlanLink>> vxlan(const std::string& name) override;
  Result<Parent> parent(const IpAddress& address) override;
  Result<PortRange> source_ports() override { return PortRange{}; }
  Result<void> create(const std::string& name, const VxlanConfig& config) override;
  Result<std::optional<IpipLink>> ipip(const std::string& name) override;
  Result<void> create_ipip(const std::string& name) override;
  Result<void> raise_ipip(int link, std::uint32_t mtu) override;
  Result<void> lower_ipip(int link) override;
  Result<void> remove(int link) override;
  Result<void> raise(int link, std::uint32_t mtu) override;
  bool breaks_checksums() const override { return is_old; }
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

  struct Device {
    std::string name;
    VxlanLink link;
    bool offloads = true;
    bool ours = false;  // of IPIP
    std::set<IpAddress> addresses;
    std::map<IpAddress, MacAddress> mac_by_address;
    std::map<MacAddress, IpAddress> host_by_mac;
  };
  // What there is.
  std::map<int, Device> devices;  // by index
  std::map<IpAddress, Parent> parents;
  bool is_old = false;
  // Asked before every call, with its number from 1 on: an error is what the call answers.
  std::function<std::optional<Error>(int call)> fail_when;
  std::uint64_t changes = 0;  // calls that have changed something

 private:
  std::optional<Error> fault();
  Result<Device*> device(int link);

  int calls_ = 0;
  int last_index_ = 1000;
};

}  // namespace ocicat::kernel
