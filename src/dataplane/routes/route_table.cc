#include "dataplane/routes/route_table.h"

#include <algorithm>
#include <array>

namespace ocicat::dataplane {
namespace {

struct Setting {
  const char* path;  // with {} for the interface
  const char* value;
  bool ipv6;
};

// What a workload's interface needs (Calico semantics, section 4.1): the host answers for the link-local
// gateway and for neighbours, forwards, and takes no advice from the workload.
constexpr std::array kInterfaceSettings{
    Setting{"net/ipv4/conf/{}/route_localnet", "1", false},
    Setting{"net/ipv4/conf/{}/forwarding", "1", false},
    Setting{"net/ipv4/conf/{}/proxy_arp", "1", false},
    Setting{"net/ipv4/neigh/{}/proxy_delay", "0", false},
    Setting{"net/ipv6/conf/{}/accept_ra", "0", true},
    Setting{"net/ipv6/conf/{}/proxy_ndp", "1", true},
    Setting{"net/ipv6/conf/{}/forwarding", "1", true},
};

// Who may send from others' addresses is known to policy, and not to the routes that this looks at.
constexpr Setting kReversePath{"net/ipv4/conf/{}/rp_filter", "1", false},
    kAnyPath{"net/ipv4/conf/{}/rp_filter", "0", false};

// Before every other metric: IPv6 takes 0 for 1024.
constexpr std::uint32_t kWayMetric = 1;

// More links than these are read together with all others.
constexpr std::size_t kMostLinks = 16;

// At links, where routes are refused: each look may be followed by another that goes, as where many workloads end.
constexpr int kMostLooks = 3;

// For a next hop object, of numbers that others have.
constexpr int kMostNumbers = 8;

Error first_of(const auto& failures) {
  Error error = failures.front().error;
  if (failures.size() > 1) error.message += fmt::format("; and {} more", failures.size() - 1);
  return error;
}

}  // namespace

void RouteTable::depend(const Prefix& destination, const Route& route) {
  if (const auto link = link_of(destination, route)) wanted_by_link_[*link].insert(destination);
  if (!route.next_hop) return;
  if (is_tunnelled(route)) wanted_by_end_[*route.next_hop].insert(destination);
  if (route.kind != Route::Kind::kHost) return;
  const auto [by_hop, is_new] = wanted_by_hop_.try_emplace(*route.next_hop);
  by_hop->second.insert(destination);
  if (is_new) hops_to_ask_.insert(*route.next_hop);
}

void RouteTable::no_longer_depend(const Prefix& destination, const Route& route) {
  const auto leave = [&](auto& index, const auto& key) {
    const auto it = index.find(key);
    if (it == index.end()) return false;
    it->second.erase(destination);
    if (!it->second.empty()) return false;
    index.erase(it);
    return true;
  };
  if (const auto link = link_of(destination, route)) leave(wanted_by_link_, *link);
  if (!route.next_hop) return;
  if (is_tunnelled(route)) leave(wanted_by_end_, *route.next_hop);
  if (route.kind == Route::Kind::kHost && leave(wanted_by_hop_, *route.next_hop)) {
    next_hops_.erase(*route.next_hop);
    hops_to_ask_.erase(*route.next_hop);
  }
}

void RouteTable::want(const Changes<Prefix, Route>& routes,
                      const Changes<ResourceKey, EndpointState>& endpoints) {
  for (const auto& [prefix, route] : routes.entries()) {
    const auto destination = prefix.masked();
    const auto before = wanted_.find(destination);
    if (before != wanted_.end()) {
      if (route && before->second == *route) continue;
      no_longer_depend(destination, before->second);
      if (!route) released_.insert(destination);
    }
    dirty_.push_back(destination);
    if (route) {
      released_.erase(destination);
      depend(destination, *route);
      wanted_.insert_or_assign(destination, *route);
    } else {
      wanted_.erase(destination);
      waiting_.erase(destination);
    }
  }
  for (const auto& [key, endpoint] : endpoints.entries()) {
    if (endpoint) {
      const bool any_path = !endpoint->sources.empty();
      interface_by_endpoint_.insert_or_assign(key, WorkloadInterface{endpoint->interface_name, any_path});
    } else {
      interface_by_endpoint_.erase(key);
    }
  }
}

void RouteTable::learn_ends(Family family, const Changes<IpAddress, TunnelEnd>& ends) {
  if (ends_known_.insert(family).second) {
    for (const auto& [vtep, prefixes] : wanted_by_end_) {
      if (vtep.family() == family) look_at(prefixes);
    }
  }
  for (const auto& [vtep, end] : ends.entries()) {
    const bool changed = end ? ends_.insert(vtep).second : ends_.erase(vtep) > 0;
    const auto wanted = wanted_by_end_.find(vtep);
    if (changed && wanted != wanted_by_end_.end()) look_at(wanted->second);
  }
}

Result<Links> RouteTable::read_links() const {
  const auto& [all, some] = link_doubts_;
  const bool anew = all || some.size() > kMostLinks;
  TRY(auto links, anew ? kernel_.links() : kernel_.links(some));
  Links now;
  if (!anew) {
    now = links_;
    std::erase_if(now, [&](const auto& entry) { return some.contains(entry.second.index); });
  }
  // Whose name another has by now is renamed or gone, which is about to be told.
  for (auto& link : links) {
    auto name = link.name;
    now.insert_or_assign(std::move(name), std::move(link));
  }
  return now;
}

Result<void> RouteTable::learn_links() {
  if (knows_links()) return {};
  TRY(auto now, read_links());
  for (const auto& [name, prefixes] : wanted_by_link_) {
    const auto before = links_.find(name);
    const auto after = now.find(name);
    const bool same = before == links_.end() ? after == now.end()
                                             : after != now.end() && before->second.up == after->second.up &&
                                                   before->second.index == after->second.index;
    if (!same) look_at(prefixes);
  }
  links_ = std::move(now);
  // A link that falls or goes takes its routes with it, and the kernel does not tell of each.
  link_doubts_ = {};
  routes_known_ = false;
  return {};
}

Result<void> RouteTable::learn() {
  TRY_VOID(learn_links());
  if (!routes_known_) {
    TRY(const auto hops, kernel_.hops(options_.protocol));
    hops_.learn(hops);
    if (options_.sweep) {
      idle_hops_.clear();
      for (const auto& hop : hops) idle_hops_.push_back(hop.number);
    }
    TRY(const auto routes, kernel_.routes(options_.protocol));
    const auto differ = known_.learn(routes);
    dirty_.insert(dirty_.end(), differ.begin(), differ.end());
    routes_known_ = true;
  }
  return {};
}

Result<void> RouteTable::set_up_interfaces() {
  if (!forwarding_ && !interface_by_endpoint_.empty()) {
    TRY(const bool changed4, kernel_.set("net/ipv4/ip_forward", "1"));
    writes_ += changed4;
    const auto changed6 = kernel_.set("net/ipv6/conf/all/forwarding", "1");
    if (!changed6 && changed6.error().code != ErrorCode::kNotFound) return std::unexpected(changed6.error());
    writes_ += changed6 && *changed6;
    forwarding_ = true;
  }
  for (const auto& [key, interface] : interface_by_endpoint_) {
    const auto& [name, any_path] = interface;
    const auto link = links_.find(name);
    if (link == links_.end()) {
      set_up_.erase(name);
      continue;
    }
    const auto done = set_up_.find(name);
    const std::pair wanted{link->second.index, any_path};
    if (done != set_up_.end() && done->second == wanted) continue;
    std::vector settings(kInterfaceSettings.begin(), kInterfaceSettings.end());
    settings.push_back(any_path ? kAnyPath : kReversePath);
    for (const auto& setting : settings) {
      const auto changed = kernel_.set(fmt::format(fmt::runtime(setting.path), name), setting.value);
      // IPv6 may be switched off; and the link may have gone meanwhile, of which we shall hear.
      if (!changed && changed.error().code != ErrorCode::kNotFound) return std::unexpected(changed.error());
      writes_ += changed && *changed;
    }
    set_up_.insert_or_assign(name, wanted);
  }
  return {};
}

void RouteTable::ask_next_hop(const IpAddress& address, std::optional<kernel::NextHop>& known) {
  const auto answer = kernel_.next_hop(address);
  const auto now = answer ? std::optional(*answer) : std::nullopt;
  if (std::exchange(known, now) == now) return;
  look_at(wanted_by_hop_.at(address));
}

// One that cannot be reached is asked for each time.
void RouteTable::find_next_hops() {
  if (!std::exchange(next_hops_known_, true)) {
    for (const auto& [address, prefixes] : wanted_by_hop_) hops_to_ask_.insert(address);
  }
  std::erase_if(hops_to_ask_, [&](const IpAddress& address) {
    auto& known = next_hops_[address];
    ask_next_hop(address, known);
    return known.has_value();
  });
}

bool RouteTable::knows_tunnel(const Prefix& destination, const Route& route) const {
  return route.kind != Route::Kind::kVxlan || ends_known_.contains(destination.family());
}

std::optional<kernel::KernelRoute> RouteTable::way_of(const Prefix& destination, const Route& route) const {
  std::optional<kernel::NextHop> hop;
  if (route.kind == Route::Kind::kHost && route.next_hop) hop = next_hops_.at(*route.next_hop);
  auto way = kernel_route(destination, route, links_, hop);
  if (way && route.kind == Route::Kind::kHost) way->metric = options_.host_metric;
  if (way && route.kind == Route::Kind::kVxlan && knows_tunnel(destination, route) &&
      !ends_.contains(*way->gateway))
    return std::nullopt;
  return way;
}

// Where there is no object, as the kernel has refused it, a route of an agent before ours that leads there without one
// is as good.
std::optional<kernel::KernelRoute> RouteTable::goal_of(const Prefix& destination, const Route& route) const {
  auto way = way_of(destination, route);
  if (!way || !is_tunnelled(route)) return way;
  if (knows_tunnel(destination, route)) way->object = hops_.leading(way->link, *way->gateway);
  return way->object != 0 ? way : known_.like(*way);
}

RoutePlan RouteTable::plan() {
  RoutePlan plan;
  for (const auto& destination : dirty_) {
    const auto wanted = wanted_.find(destination);
    std::optional<kernel::KernelRoute> goal;
    if (wanted != wanted_.end()) {
      goal = goal_of(destination, wanted->second);
      if (goal) {
        waiting_.erase(destination);
      } else {
        waiting_.insert(destination);
        if (is_tunnelled(wanted->second)) goal = blackhole_for(destination);
      }
    }
    const bool ours = wanted != wanted_.end() || options_.sweep || released_.contains(destination);
    plan_route(destination, goal, known_, ours, plan);
  }
  return plan;
}

std::vector<kernel::HopObject> RouteTable::missing_hops() {
  std::set<std::pair<int, IpAddress>> ways;
  for (const auto& destination : dirty_) {
    const auto wanted = wanted_.find(destination);
    if (wanted == wanted_.end() || !is_tunnelled(wanted->second) ||
        !knows_tunnel(destination, wanted->second))
      continue;
    const auto way = way_of(destination, wanted->second);
    if (way && hops_.leading(way->link, *way->gateway) == 0) ways.emplace(way->link, *way->gateway);
  }
  std::vector<kernel::HopObject> missing;
  for (const auto& [link, gateway] : ways) missing.push_back(hops_.next(link, gateway));
  return missing;
}

Result<std::vector<kernel::HopFailure>> RouteTable::add_hops(const std::vector<kernel::HopObject>& hops) {
  TRY(auto refused, kernel_.add(options_.protocol, hops));
  std::set<std::uint32_t> without;
  for (const auto& failure : refused) without.insert(failure.hop.number);
  for (const auto& hop : hops) {
    if (without.contains(hop.number)) continue;
    hops_.add(hop);
    idle_hops_.push_back(hop.number);
    ++writes_;
  }
  return refused;
}

// Numbers that others have are left to them.
Result<std::vector<kernel::HopFailure>> RouteTable::renumber(std::vector<kernel::HopFailure> refused) {
  std::vector<kernel::HopFailure> left;
  for (int tries = 0; !refused.empty(); ++tries) {
    std::vector<kernel::HopObject> again;
    for (auto& failure : refused) {
      if (failure.error.code == ErrorCode::kAlreadyExists && tries < kMostNumbers) {
        again.push_back(hops_.next(failure.hop.link, failure.hop.gateway));
      } else {
        left.push_back(std::move(failure));
      }
    }
    TRY(refused, add_hops(again));
  }
  return left;
}

// The kernel refuses an object of IPv6 by a gateway to which it has another way: as where the end of a tunnel lies in
// the block itself, which leads there without the tunnel until now, or in a pool that has no tunnel to that host. It
// asks only as the object is added, so a way to the gateway stands there meanwhile, before all others.
Result<std::vector<kernel::HopFailure>> RouteTable::add_with_ways(std::vector<kernel::HopFailure> refused) {
  std::vector<kernel::KernelRoute> ways;
  std::vector<kernel::HopObject> hops;
  std::vector<kernel::HopFailure> left;
  for (auto& failure : refused) {
    const auto& [number, link, gateway] = failure.hop;
    if (failure.error.code != ErrorCode::kInvalid) {
      left.push_back(std::move(failure));
      continue;
    }
    ways.push_back({Prefix::host(gateway), link, std::nullopt, kWayMetric});
    hops.push_back(failure.hop);
  }
  if (hops.empty()) return left;
  TRY([[maybe_unused]] const auto no_way, kernel_.add(options_.protocol, ways));
  TRY(auto not_added, add_hops(hops));
  TRY([[maybe_unused]] const auto still_there, kernel_.remove(options_.protocol, ways));
  std::ranges::move(not_added, std::back_inserter(left));
  return left;
}

Result<void> RouteTable::bring_hops() {
  const auto missing = missing_hops();
  if (missing.empty()) return {};
  TRY(auto refused, add_hops(missing));
  TRY(refused, renumber(std::move(refused)));
  TRY(refused, add_with_ways(std::move(refused)));
  if (!refused.empty()) return std::unexpected(first_of(refused));
  return {};
}

// Others' use is asked for when it matters, and told of from then on. What they use stays among the idle.
Result<std::vector<kernel::HopObject>> RouteTable::unused_hops() {
  std::erase_if(idle_hops_,
                [&](auto number) { return hops_.find(number) == nullptr || known_.any_by(number); });
  if (idle_hops_.empty()) return std::vector<kernel::HopObject>();
  if (!lent_) {
    TRY(lent_, kernel_.hops_others_use(options_.protocol));
  }
  std::set<kernel::HopObject> unused;
  for (const auto number : idle_hops_) {
    if (!lent_->contains(number)) unused.insert(*hops_.find(number));
  }
  return std::vector(unused.begin(), unused.end());
}

Result<void> RouteTable::take_hops_away() {
  TRY(const auto hops, unused_hops());
  if (!hops.empty()) {
    TRY(const auto not_removed, kernel_.remove(hops));
    if (!not_removed.empty()) return std::unexpected(first_of(not_removed));
  }
  for (const auto& hop : hops) hops_.remove(hop);
  writes_ += hops.size();
  return {};
}

Result<std::vector<kernel::KernelRoute>> RouteTable::stand_in(
    const std::vector<kernel::RouteFailure>& refused, std::vector<kernel::KernelRoute> removed) {
  std::set<Prefix> without;
  for (const auto& failure : refused) {
    const auto wanted = wanted_.find(failure.route.destination);
    if (wanted != wanted_.end() && is_tunnelled(wanted->second)) without.insert(wanted->first);
  }
  std::erase_if(removed,
                [&](const auto& route) { return route.blackhole && without.erase(route.destination) > 0; });
  std::vector<kernel::KernelRoute> blackholes;
  for (const auto& destination : without) blackholes.push_back(blackhole_for(destination));
  TRY(const auto not_added, kernel_.add(options_.protocol, blackholes));
  writes_ += blackholes.size() - not_added.size();
  return removed;
}

// What the kernel then has is not known where anything fails; all that was to be looked at still is.
Result<void> RouteTable::carry_out(const RoutePlan& plan) {
  routes_known_ = old_ways_gone_ = plan.add.empty() && plan.remove.empty();
  for (const auto& route : plan.remove) {
    if (route.object != 0) idle_hops_.push_back(route.object);
  }
  if (!routes_known_) {
    TRY(const auto not_added, kernel_.add(options_.protocol, plan.add));
    auto remove = plan.remove;
    if (!not_added.empty()) {
      TRY(remove, stand_in(not_added, std::move(remove)));
    }
    TRY(const auto not_removed, kernel_.remove(options_.protocol, remove));
    old_ways_gone_ = not_removed.empty();
    writes_ += plan.add.size() - not_added.size() + remove.size() - not_removed.size();
    for (const auto& failure : not_added) waiting_.insert(failure.route.destination);
    if (!not_added.empty()) return std::unexpected(first_of(not_added));
    if (!not_removed.empty()) return std::unexpected(first_of(not_removed));
    for (const auto& route : plan.add) known_.add(route);
    for (const auto& route : plan.remove) known_.remove(route);
    routes_known_ = true;
  }
  dirty_.clear();
  released_.clear();
  return {};
}

// Routes by an object that could not be are looked at again, as much as those that were refused themselves.
Result<void> RouteTable::settle() {
  std::ranges::sort(dirty_);
  dirty_.erase(std::ranges::unique(dirty_).begin(), dirty_.end());
  const auto brought = bring_hops();
  auto looked_at = brought ? std::vector<Prefix>() : dirty_;
  auto done = carry_out(plan());
  if (done) done = take_hops_away();
  if (brought && done) return {};
  dirty_.insert(dirty_.end(), looked_at.begin(), looked_at.end());
  routes_known_ = false;
  return brought ? done : brought;
}

Result<void> RouteTable::sync() {
  old_ways_gone_ = false;
  TRY_VOID(learn());
  auto set_up = set_up_interfaces();
  find_next_hops();
  auto done = settle();
  // A link that goes takes its routes along, and tells of itself after them: added again they are refused.
  for (int looks = 0; !done && looks < kMostLooks; ++looks) {
    const auto before = links_;
    distrust_links();
    TRY_VOID(learn());
    if (links_ == before) break;
    distrust_next_hops();
    set_up = set_up_interfaces();
    find_next_hops();
    done = settle();
  }
  return done ? set_up : done;
}

bool RouteTable::is_ready(const EndpointState& endpoint) const {
  const auto link = links_.find(endpoint.interface_name);
  if (link == links_.end() || !link->second.up) return false;
  return std::ranges::none_of(endpoint.addresses, [&](const AddressPrograms& programs) {
    return waiting_.contains(Prefix::host(programs.address));
  });
}

Result<void> remove_routes(kernel::RouteKernel& kernel, int protocol) {
  TRY(const auto routes, kernel.routes(protocol));
  TRY(const auto failures, kernel.remove(protocol, routes));
  if (!failures.empty()) return std::unexpected(first_of(failures));
  TRY(const auto hops, kernel.hops(protocol));
  TRY(const auto left, kernel.remove(hops));
  if (!left.empty()) return std::unexpected(first_of(left));
  return {};
}

}  // namespace ocicat::dataplane
