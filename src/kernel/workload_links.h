// The pair of interfaces between a host and a workload's network namespace.
//
//   host side   MAC ee:ee:ee:ee:ee:ee; with IPv6 the link-local address that follows from it
//   workload    single addresses; a default route by 169.254.1.1, or by the host's link-local address. Of a
//               workload's second interface it is in a table of its own, for what the workload sends from that
//               interface's addresses or by that interface. Or routes to some destinations alone, in the main table
//   source      docs/spec: semantics.md 4.1 and 6; linux/if_link.h (IFLA_LINKINFO, VETH_INFO_PEER)
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "base/result.h"
#include "kernel/link_removal.h"

namespace ocicat::kernel {

inline constexpr MacAddress kWorkloadHostMac{{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}};

struct WorkloadPair {
  std::string host_name;
  std::string name;            // in the workload
  std::string namespace_path;  // of the workload, to be opened
  MacAddress mac;              // of the workload's side
  std::uint32_t mtu = 1500;
  std::uint32_t queues = 1;
  bool ipv6 = false;                 // it will have an address of that family
  bool ip_forwarding = false;        // inside
  std::vector<Prefix> destinations;  // of its routes; empty: everything
};

// The tables that default routes are in, IPv4 first; 0: the main one, or there is none of the family.
using DefaultTables = std::array<std::uint32_t, 2>;

// What is there of it.
struct WorkloadPairState {
  bool host_up = false;
  bool up = false;
  MacAddress mac;
  std::vector<IpAddress> addresses;  // in the workload, those of the kernel's making left out
  // Its routes are there, the default one in the main table or in its own with the rules that lead there.
  bool routes4 = false, routes6 = false;
};

class WorkloadLinks {
 public:
  virtual ~WorkloadLinks() = default;

  // Makes the pair, replacing a host interface of that name. kNotFound: there is no such namespace.
  // kAlreadyExists: the workload has an interface of that name, and no host side of ours.
  virtual Result<void> create(const WorkloadPair& pair) = 0;
  // Gives the workload's side its addresses and routes; packets then pass both ways.
  virtual Result<DefaultTables> address(const WorkloadPair& pair,
                                        const std::vector<IpAddress>& addresses) = 0;
  // Both sides go. False: there was none.
  virtual Result<bool> remove(const std::string& host_name) = 0;
  // Removes the rules that led to tables of the workload's own by these addresses, whose interface has gone; nothing
  // else goes with it. A workload that has gone as well is none to have any.
  virtual Result<void> remove_rules(const WorkloadPair& pair, const std::vector<IpAddress>& given) = 0;
  // Whether there is a host side of that name.
  virtual Result<bool> has(const std::string& host_name) = 0;
  // `given`: the addresses that address() gave; the workload may have added others, which nothing leads for.
  // Nothing: the host side or the workload's is not there. kNotFound: there is no such namespace.
  virtual Result<std::optional<WorkloadPairState>> look(const WorkloadPair& pair,
                                                        const std::vector<IpAddress>& given) = 0;
  // Gives both sides the pair's MTU, the one that receives first where it is more than `before`. kNotFound:
  // the workload's side is not to be found there; then the host's is left as it is, since it would drop what
  // the workload still sends.
  virtual Result<void> set_mtu(const WorkloadPair& pair, std::uint32_t before) = 0;
};

// In the network namespace of the calling thread; from any number of threads.
class NetlinkWorkloadLinks final : public WorkloadLinks {
 public:
  Result<void> create(const WorkloadPair& pair) override;
  Result<DefaultTables> address(const WorkloadPair& pair, const std::vector<IpAddress>& addresses) override;
  Result<bool> remove(const std::string& host_name) override;
  Result<void> remove_rules(const WorkloadPair& pair, const std::vector<IpAddress>& given) override;
  Result<bool> has(const std::string& host_name) override;
  Result<std::optional<WorkloadPairState>> look(const WorkloadPair& pair,
                                                const std::vector<IpAddress>& given) override;
  Result<void> set_mtu(const WorkloadPair& pair, std::uint32_t before) override;

 private:
  LinkRemoval removal_;
};

}  // namespace ocicat::kernel
