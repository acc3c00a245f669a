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

Error first_of(const std::vector<kernel::RouteFailure>& failures) {
  Error error = failures.front().error;
  if (failures.size() > 1) error.message += fmt::format("; and {} more", failures.size() - 1);
  return error;
}

}  // namespace

void RouteTable::want(const Changes<Prefix, Route>& routes,
                      const Changes<ResourceKey, EndpointState>& endpoints) {
  for (const auto& [prefix, route] : routes.entries()) {
    if (route) {
      released_.erase(prefix.masked());
    } else if (wanted_.contains(prefix)) {
      released_.insert(prefix.masked());
    }
  }
  routes.apply_to(wanted_);
  for (const auto& [key, endpoint] : endpoints.entries()) {
    if (endpoint) {
      const bool any_path = !endpoint->sources.empty();
      interface_by_endpoint_.insert_or_assign(key, WorkloadInterface{endpoint->interface_name, any_path});
    } else {
      interface_by_endpoint_.erase(key);
    }
  }
}

bool RouteTable::has_next_hops() const {
  return std::ranges::any_of(wanted_,
                             [](const auto& entry) { return entry.second.kind == Route::Kind::kHost; });
}

Result<void> RouteTable::learn_links() {
  if (links_known_) return {};
  TRY(auto links, kernel_.links());
  links_.clear();
  for (auto& link : links) {
    auto name = link.name;
    links_.emplace(std::move(name), std::move(link));
  }
  // A link that falls or goes takes its routes with it, and the kernel does not tell of each.
  links_known_ = true;
  routes_known_ = false;
  return {};
}

Result<void> RouteTable::learn() {
  TRY_VOID(learn_links());
  if (!routes_known_) {
    TRY(const auto routes, kernel_.routes(options_.protocol));
    ours_ = {routes.begin(), routes.end()};
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

void RouteTable::find_next_hops() {
  for (const auto& [prefix, route] : wanted_) {
    if (route.kind != Route::Kind::kHost || next_hops_.contains(*route.next_hop)) continue;
    // One that cannot be reached is asked for again at the next sync().
    if (const auto hop = kernel_.next_hop(*route.next_hop)) next_hops_.emplace(*route.next_hop, *hop);
  }
}

Result<void> RouteTable::sync() {
  TRY_VOID(learn());
  const auto set_up = set_up_interfaces();
  find_next_hops();
  const auto plan = plan_routes(wanted_, links_, next_hops_, ours_, options_.sweep, released_);
  waiting_ = plan.waiting;
  if (!plan.add.empty() || !plan.remove.empty()) {
    routes_known_ = false;
    TRY(const auto not_added, kernel_.add(options_.protocol, plan.add));
    TRY(const auto not_removed, kernel_.remove(options_.protocol, plan.remove));
    writes_ += plan.add.size() + plan.remove.size();
    for (const auto& failure : not_added) {
      for (const auto& [prefix, unused] : wanted_) {
        if (prefix.masked() == failure.route.destination) waiting_.insert(prefix);
      }
    }
    if (!not_added.empty()) return std::unexpected(first_of(not_added));
    if (!not_removed.empty()) return std::unexpected(first_of(not_removed));
    ours_.insert(plan.add.begin(), plan.add.end());
    for (const auto& route : plan.remove) ours_.erase(route);
    routes_known_ = true;
  }
  released_.clear();
  TRY_VOID(set_up);
  return check_tunnels();
}

// What waits for a tunnel that nobody makes waits in vain.
Result<void> RouteTable::check_tunnels() const {
  const auto waiting = std::ranges::find_if(wanted_, [&](const auto& entry) {
    return entry.second.kind == Route::Kind::kIpip && waiting_.contains(entry.first);
  });
  if (waiting == wanted_.end()) return {};
  return fail(ErrorCode::kUnsupported,
              "the pool of {} asks for IPIP, and this host has no interface {} that is up: load the kernel's "
              "module ipip and bring it up, or set the pool's ipipMode to Never and its vxlanMode instead",
              waiting->first.to_string(), kIpipName);
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
  return {};
}

}  // namespace ocicat::dataplane
