#include "dataplane/host_keeper.h"

#include <algorithm>
#include <iterator>

#include "dataplane/ebpf/ebpf_policy.h"
#include "dataplane/ebpf/handover.h"
#include "dataplane/nftables/policy_table.h"
#include "dataplane/no_policy.h"
#include "dataplane/workload_mtu.h"

namespace ocicat::dataplane {
namespace {

std::unique_ptr<PolicyDatapath> datapath_of(const Options& options, const HostKeeper::Kernels& kernels) {
  if (options.datapath == Datapath::kEbpf) {
    CHECK(!options.pin_folder.empty());
    return std::make_unique<ebpf::EbpfPolicy>(kernels.policy_table, kernels.routes, kernels.connections,
                                              options.pin_folder, options.usable, options.objects);
  }
  if (options.datapath == Datapath::kNone) return std::make_unique<NoPolicy>();
  return std::make_unique<PolicyTable>(kernels.policy_table);
}

}  // namespace

HostKeeper::HostKeeper(const Kernels& kernels, const Options& options)
    : policy_(datapath_of(options, kernels)),
      nat_(kernels.nat_table, kernels.connections),
      routes_(kernels.routes, {options.route_protocol, options.sweep, options.host_metric}),
      vxlan_{Vxlan(kernels.tunnels, Family::kIpv4), Vxlan(kernels.tunnels, Family::kIpv6)},
      ipip_(kernels.tunnels),
      bandwidth_(kernels.queues),
      options_(options),
      policy_kernel_(kernels.policy_table),
      route_kernel_(kernels.routes),
      connections_(kernels.connections) {}

void HostKeeper::want_overlays(const HostChanges& changes) {
  if (changes.ipip) ipip_.want(*changes.ipip);
  for (std::size_t family = 0; family < vxlan_.size(); ++family) {
    if (changes.vxlan) vxlan_[family].want((*changes.vxlan)[family]);
    vxlan_[family].want(changes.peers);
  }
}

// An interface that comes or goes is a link that routes must learn of.
Result<void> HostKeeper::for_overlays(const std::function<Result<void>(Overlay&)>& act) {
  Result<void> first;
  for (auto* overlay : std::initializer_list<Overlay*>{&vxlan_[0], &vxlan_[1], &ipip_}) {
    const auto link_writes = overlay->link_writes();
    const auto done = act(*overlay);
    if (overlay->link_writes() != link_writes) {
      routes_.distrust_links();
      mtu_known_ = false;
    }
    if (!done && first) first = within("overlay", done.error());
  }
  for (std::size_t family = 0; family < vxlan_.size(); ++family) {
    const auto told = tell_of_tunnels(family);
    if (!told && first) first = within("overlay", told.error());
  }
  return first;
}

// What the policy has refused it has kept: then it is asked again, with nothing new.
Result<void> HostKeeper::tell_of_tunnels(std::size_t family) {
  const auto news = vxlan_[family].news();
  const auto of = family == 0 ? Family::kIpv4 : Family::kIpv6;
  if (news) routes_.learn_ends(of, news->ends);
  if ((!news || news->empty()) && tunnels_taken_[family]) return {};
  const auto taken = policy_->take_tunnels(of, news.value_or(TunnelChanges{}));
  tunnels_taken_[family] = taken.has_value();
  return taken;
}

// The routes read them on their own where this fails.
Result<bool> HostKeeper::learn_links() {
  if (links_told_ && routes_.knows_links()) return false;
  TRY_VOID(routes_.learn_links());
  policy_->learn_links(routes_.links());
  heard_of_links_ = links_told_ = true;
  return true;
}

void HostKeeper::assign_interfaces() {
  const auto before =
      std::exchange(interfaces_, dataplane::assign_interfaces(host_endpoints_, routes_.links()));
  connections_wait_ |= interfaces_ != before;
  const auto assigned = policy_->assign(interfaces_);
  assigned_ = assigned.has_value();
  if (assigned_) return;
  mending_policy_ = false;
  take_error_ = assigned.error().message;
}

void HostKeeper::apply(const HostChanges& changes) {
  const auto applied = policy_->apply(changes);
  if (applied) return;
  mending_policy_ = false;
  take_error_ = applied.error().message;
}

void HostKeeper::take(const HostChanges& changes) {
  for (const auto& [kind, revision] : changes.revisions) wanted_.insert_or_assign(kind, revision);
  if (started_ && changes.only_tells()) return;
  as_it_was_ = false;
  if (std::exchange(started_, true)) note_renewed(changes.endpoints);
  mending_routes_ = false;
  changes.host_endpoints.apply_to(host_endpoints_);
  // A workload's link comes just before it. Where links cannot be read attempt() says so.
  [[maybe_unused]] const auto learned = learn_links();
  assign_interfaces();
  apply(changes);
  connections_wait_ |= changes.settings || !changes.tables.empty() || !changes.endpoints.empty() ||
                       !changes.host_endpoints.empty();
  if (changes.settings) settings_ = *changes.settings;
  if (changes.settings) mtu_known_ = false;
  if (changes.settings) nat_.want(changes.settings->nat);
  nat_.want(changes.peers);
  nat_.want(changes.floating);
  floating_taken_ &= changes.floating.empty();
  want_overlays(changes);
  bandwidth_.want(changes.endpoints);
  routes_.want(changes.routes, changes.endpoints);
  changes.endpoints.apply_to(endpoints_);
}

void HostKeeper::note_renewed(const Changes<ResourceKey, EndpointState>& changes) {
  static const EndpointState kNone;
  for (const auto& [key, after] : changes.entries()) {
    const auto found = endpoints_.find(key);
    const auto& was = found == endpoints_.end() ? kNone : found->second;
    const auto& is = after ? *after : kNone;
    const bool moves = was.interface_name != is.interface_name;
    const auto add = [&](const EndpointState& from, const EndpointState& other) {
      for (const auto& [address, ingress, egress] : from.addresses) {
        if (moves ||
            std::ranges::find(other.addresses, address, &AddressPrograms::address) == other.addresses.end())
          renewed_.addresses.insert(address);
      }
      for (const auto& address : from.denied) {
        if (moves || std::ranges::find(other.denied, address) == other.denied.end())
          renewed_.addresses.insert(address);
      }
    };
    add(was, is);
    add(is, was);
    renewed_.sources |= was.sources != is.sources;
  }
}

void HostKeeper::doubt(const Doubts& doubts) {
  as_it_was_ &= !doubts.any();
  if (doubts.policy) {
    mending_policy_ = policy_->in_step() || mending_policy_;
    policy_->distrust();
  }
  if (doubts.nat) {
    mending_routes_ = true;
    nat_.distrust();
  }
  if (doubts.routes) routes_.distrust_routes();
  if (doubts.routes || doubts.ends) {
    mending_routes_ = true;
    for (auto& vxlan : vxlan_) vxlan.distrust_ends();
  }
  if (doubts.ends) {  // they go before their interface does
    for (auto& vxlan : vxlan_) vxlan.distrust_device();
  }
  if (doubts.links.any()) {
    routes_.distrust_links(doubts.links);
    links_told_ = false;
    bandwidth_.distrust();
    mtu_known_ = false;
    for (auto& vxlan : vxlan_) vxlan.distrust_device();
    ipip_.distrust();
  }
  if (doubts.links.any() || doubts.next_hops) routes_.distrust_next_hops();
  if (doubts.routes || doubts.links.any() || doubts.next_hops) policy_->reroute();
}

std::set<int> HostKeeper::tunnel_links() const {
  std::set<int> links;
  for (const auto& vxlan : vxlan_) {
    if (vxlan.link() != 0) links.insert(vxlan.link());
  }
  return links;
}

std::uint64_t HostKeeper::writes() const {
  return bandwidth_.writes() + nat_.writes() + routes_.writes() + vxlan_[0].writes() + vxlan_[1].writes() +
         ipip_.writes();
}

std::vector<TunnelLink> HostKeeper::tunnels() const {
  auto tunnels = tunnels_in_use(routes_.links(), settings_);
  for (const auto family : kFamilies) {
    const auto& vxlan = vxlan_[family == Family::kIpv4 ? 0 : 1];
    const auto tunnel = std::ranges::find(tunnels, vxlan_name(family), &TunnelLink::interface_name);
    if (tunnel != tunnels.end()) tunnel->ends = {vxlan.hosts(), vxlan.ends()};
  }
  return tunnels;
}

Result<void> HostKeeper::sync_translation() {
  const auto before = nat_.writes();
  TRY_VOID(nat_.sync());
  TRY_VOID(policy_->take_translation(nat_.writes() != before));
  floating_taken_ = true;
  return {};
}

Result<void> HostKeeper::sync_overlays_and_routes() {
  auto done = for_overlays(&Overlay::sync);
  if (const auto routes = routes_.sync(); !routes) done = within("routes", routes.error());
  if (!routes_.old_ways_gone()) return done;
  const auto retired = for_overlays(&Overlay::retire);
  return retired ? done : retired;
}

Result<void> HostKeeper::sync_ways() {
  auto done = bandwidth_.sync(routes_.links());
  if (!done) done = within("bandwidth", done.error());
  if (const auto nat = sync_translation(); !nat) done = within("translation", nat.error());
  auto ways = sync_overlays_and_routes();
  if (std::ranges::any_of(vxlan_, &Vxlan::comes_anew)) ways = sync_overlays_and_routes();
  return ways ? done : ways;
}

bool HostKeeper::must_know_links() const {
  return std::ranges::any_of(host_endpoints_,
                             [](const auto& entry) { return entry.second.interface_name.empty(); });
}

Result<std::size_t> HostKeeper::revoke_connections(const policy::Tables& tables) {
  std::set<IpAddress> own;
  for (const auto& [name, link] : routes_.links()) own.insert(link.addresses.begin(), link.addresses.end());
  const auto way = [&](const IpAddress& address) -> std::string {
    const auto hop = route_kernel_.next_hop(address);
    if (!hop) return {};
    const auto link =
        std::ranges::find(routes_.links(), hop->link, [](const auto& entry) { return entry.second.index; });
    return link == routes_.links().end() ? std::string() : link->first;
  };
  ConnectionJudge judge({.tables = tables,
                         .endpoints = endpoints_,
                         .host_endpoints = host_endpoints_,
                         .interfaces = interfaces_,
                         .own = own,
                         .elsewhere_mark = settings_.elsewhere_mark,
                         .way = way});
  TRY(const auto revoked,
      revoke(connections_, judge, settings_.revoked_mark, connections_stay() ? &renewed_ : nullptr));
  renewed_ = {};
  revoked_remain_ = revoked.remain > 0;
  return revoked.denied;
}

Result<void> HostKeeper::judge_connections() {
  connections_wait_ = false;
  const auto* tables = policy_->tables_for_connections();
  if (tables == nullptr) renewed_ = {};
  const bool all_stay = connections_stay() && renewed_.empty() && !revoked_remain_;
  if (tables == nullptr || all_stay) return {};
  const auto revoked = revoke_connections(*tables);
  connections_wait_ = !revoked;
  connection_error_ = revoked ? "" : "open connections: " + revoked.error().message;
  if (revoked) report_.revoked += *revoked;
  if (report_.error.empty() || report_.error.starts_with("open connections: "))
    report_.error = connection_error_;
  return revoked ? Result<void>() : std::unexpected(revoked.error());
}

Result<void> HostKeeper::take_connections_back() {
  const auto* tables = policy_->tables_for_connections();
  if (connections_taken_back_ || tables == nullptr || options_.pin_folder.empty()) return {};
  TRY(const auto map, ebpf::open_connections(options_.pin_folder));
  if (map) {
    TRY_VOID(track_connections(policy_kernel_));
    const ebpf::GiveBack how{.revoked_mark = settings_.revoked_mark,
                             .timeouts = ebpf::timeouts_of(settings_.timeouts),
                             .translates = [&](const kernel::Connection& connection) {
                               return nat_.translates(connection.source, connection.destination);
                             }};
    TRY_VOID(ebpf::give_connections(connections_, *map, how));
    TRY_VOID(revoke_connections(*tables));
  }
  connections_taken_back_ = true;
  return {};
}

bool HostKeeper::is_ready(const EndpointState& endpoint) const {
  // Without addresses it is one that is denied all.
  return policy_->in_step() && !endpoint.addresses.empty() && policy_->serves(endpoint.interface_name) &&
         bandwidth_.is_ready(endpoint) && routes_.is_ready(endpoint) && is_reached_by_floating(endpoint);
}

bool HostKeeper::is_reached_by_floating(const EndpointState& endpoint) const {
  return std::ranges::all_of(endpoint.addresses, [&](const AddressPrograms& programs) {
    const auto& floating = nat_.floating_of(programs.address);
    const auto lacks = [&](const IpAddress& address) { return routes_.lacks(Prefix::host(address)); };
    return floating.empty() || (floating_taken_ && std::ranges::none_of(floating, lacks));
  });
}

const EndpointState* HostKeeper::in_force(const ResourceKey& endpoint) const {
  const auto found = endpoints_.find(endpoint);
  return found != endpoints_.end() && is_ready(found->second) ? &found->second : nullptr;
}

bool HostKeeper::attempt() {
  if (!started_) return true;
  if (as_it_was_ && policy_->in_step()) {
    report_.revisions = wanted_;
    return true;
  }
  // Without the links, what is known of them stays; the routes will say what is wrong. Where nothing is known
  // yet, an interface that is found by its addresses would be let go.
  if (const auto learned = learn_links(); learned) {
    if (*learned || !assigned_) {
      assign_interfaces();
      apply({});
    }
  } else if (!heard_of_links_ && must_know_links()) {
    report_.error = "links: " + learned.error().message;
    return false;
  }
  std::string error = std::exchange(take_error_, {});
  if (!policy_->in_step()) {
    const auto taken = take_connections_back();
    const auto done = taken ? policy_->resync() : Result<bool>(within("open connections", taken.error()));
    // What failed when changes were taken no longer matters once all of it is there.
    error = !done ? done.error().message : assigned_ ? std::string() : error;
    if (done && *done && mending_policy_) ++report_.repairs;
    mending_policy_ = mending_policy_ && !done;
  }
  const bool policy_in_force = policy_->in_step();
  if (!policy_in_force) routes_.distrust_links();
  if (policy_in_force) {
    const auto writes = this->writes();
    const auto done = sync_ways();
    if (!done) error = done.error().message;
    if (this->writes() != writes) policy_->reroute();
    if (this->writes() != writes && mending_routes_) ++report_.repairs;
    mending_routes_ = mending_routes_ && !done;
  }
  if (error.empty()) report_.revisions = wanted_;
  if (policy_in_force && !std::exchange(mtu_known_, true)) {
    report_.mtu = workload_mtu(routes_.links(), settings_);
  }
  if (policy_in_force) {
    report_.tunnels = tunnels();
    report_.routes = routes_.wanted();
    report_.routes_ready = routes_.wanted() - routes_.waiting();
  }
  report_.notes.clear();
  if (!policy_->enforces()) report_.notes.emplace_back(kNoPolicy);
  std::ranges::move(policy_->notes(), std::back_inserter(report_.notes));
  for (const auto& vxlan : vxlan_) {
    if (auto note = vxlan.note(); !note.empty()) report_.notes.push_back(std::move(note));
  }
  report_.endpoints = endpoints_.size();
  report_.endpoints_ready = static_cast<std::size_t>(
      std::ranges::count_if(endpoints_, [&](const auto& entry) { return is_ready(entry.second); }));
  report_.host_endpoints = statuses(host_endpoints_, routes_.links(), interfaces_);
  report_.interfaces = interfaces_;
  if (!policy_in_force || !assigned_ || !policy_->enforces()) {
    for (auto& [key, status] : report_.host_endpoints) status = HostEndpointStatus::kError;
  }
  const bool done = error.empty();
  report_.error = done ? connection_error_ : std::move(error);
  report_.kernel_writes = policy_->writes() + writes();
  as_it_was_ = done && links_told_ && routes_.knows_links();
  return done;
}

}  // namespace ocicat::dataplane
