// Links and routes in memory: for tests that need the kernel's failures. Of IPv6 routes that differ in their
// protocol alone there is one, as in the kernel (fib6_add_rt2node); one by a next hop object is there only with it.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "kernel/routes.h"

namespace ocicat::kernel {

class SimulatedRoutes final : public RouteKernel {
 public:
  Result<std::vector<Link>> links() override;
  Result<std::vector<Link>> links(const std::set<int>& indexes) override;
  Result<std::set<int>> controlled() override;
  Result<std::vector<KernelRoute>> routes(int protocol) override;
  Result<std::vector<RouteFailure>> add(int protocol, const std::vector<KernelRoute>& routes) override;
  Result<std::vector<RouteFailure>> remove(int protocol, const std::vector<KernelRoute>& routes) override;
  Result<std::vector<HopObject>> hops(int protocol) override;
  Result<std::vector<HopFailure>> add(int protocol, const std::vector<HopObject>& hops) override;
  Result<std::vector<HopFailure>> remove(const std::vector<HopObject>& hops) override;
  Result<std::set<std::uint32_t>> hops_others_use(int protocol) override;
  Result<NextHop> next_hop(const IpAddress& address) override;
  Result<bool> set(const std::string& setting, const std::string& value) override;

  // What there is. Settings that are not in `settings` do not exist.
  std::map<int, Link> link_by_index;
  std::set<int> controlled_links;
  std::map<int, std::set<KernelRoute>> routes_by_protocol;
  std::map<std::uint32_t, std::pair<int, HopObject>> hop_by_number;  // and whose, by the protocol
  std::map<IpAddress, NextHop> next_hops;
  std::map<std::string, std::string> settings;
  // Asked before every call, with its number from 1 on: an error is what the call answers.
  std::function<std::optional<Error>(int call)> fail_when;
  // Asked for every route to be added.
  std::function<std::optional<Error>(const KernelRoute&)> refuse;
  std::function<std::optional<Error>(const HopObject&)> refuse_hop;
  int asked_for_hops = 0;
  int dumps = 0;         // of all routes of a protocol
  int dumps_of_all = 0;  // whosever
  int routes_lost = 0;   // with an object that was removed
  // As the kernel does: what leads by a link that has gone or is down goes with it.
  void flush();

 private:
  std::optional<Error> fault();
  bool is_others(int protocol, const KernelRoute& route) const;
  bool is_up(int link) const;
  bool has_object_of(const KernelRoute& route) const;
  void lose_routes_without_object();

  int calls_ = 0;
};

}  // namespace ocicat::kernel
