#include "test/support/history_census.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace ocicat::test {

namespace {

constexpr std::array kDeleted{Kind::kPod,
                              Kind::kWorkloadEndpoint,
                              Kind::kHostEndpoint,
                              Kind::kNetworkSet,
                              Kind::kGlobalNetworkSet,
                              Kind::kTier,
                              Kind::kNetworkPolicy,
                              Kind::kGlobalNetworkPolicy,
                              Kind::kProfile,
                              Kind::kNamespace,
                              Kind::kEndpointSlice,
                              Kind::kStagedNetworkPolicy,
                              Kind::kClusterNetworkPolicy};

std::string deletion_of(Kind kind) {
  return fmt::format("{} deleted", info(kind).name);
}

constexpr const char* kIdentityComesBack = "a name comes back as something else";
constexpr const char* kOtherIdentity = "an endpoint goes on under another name";
constexpr const char* kPolicyRenamed = "a policy is renamed";
constexpr const char* kHostRenamed = "a host endpoint is renamed";
constexpr const char* kStagedEnforced = "a staged policy is enforced, or the other way";
constexpr const char* kAddressHandedOver = "an address changes hands";
constexpr const char* kAddressShared = "an address comes to be shared";
constexpr const char* kAddressOfHost = "an address is a workload's and a host endpoint's";
constexpr const char* kNetWithinNet = "a net lies within one of another set";
constexpr const char* kNetWithEndpoint = "a net holds an endpoint's address";
constexpr const char* kOtherTier = "a policy goes to another tier";
constexpr const char* kTierMoved = "a tier moves";
constexpr const char* kTierActionChanged = "a tier's default action changes";
constexpr const char* kTierGone = "a tier goes that policies are in";
constexpr const char* kRelabelled = "an endpoint is relabelled";
constexpr const char* kNamespaceRelabelled = "a namespace is relabelled";
constexpr const char* kLabelsAndPolicy = "labels and a policy change together";
constexpr const char* kEndpointMoved = "an endpoint moves to another host";
constexpr const char* kInterfaceMoved = "a host endpoint takes another interface";
constexpr const char* kSliceChanged = "what stands behind a service changes";
constexpr const char* kPortsChanged = "a named port changes its number";
constexpr const char* kSettingsChanged = "settings change";
constexpr const char* kManyAtOnce = "many go at once";

bool is_policy(const Resource& resource) {
  return std::holds_alternative<NetworkPolicy>(resource);
}

bool same_rules(const NetworkPolicy& a, const NetworkPolicy& b) {
  return a.selector == b.selector && a.ingress == b.ingress && a.egress == b.egress && a.order == b.order;
}

std::map<IpAddress, std::set<ResourceKey>> owners_of(const policy::Snapshot& snapshot) {
  std::map<IpAddress, std::set<ResourceKey>> owners;
  for (const auto& [key, resource] : snapshot) {
    if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource)) {
      for (const auto& address : endpoint->addresses) owners[address].insert(key);
    } else if (const auto* host = std::get_if<HostEndpoint>(&resource)) {
      for (const auto& address : host->expected_addresses) owners[address].insert(key);
    }
  }
  return owners;
}

bool is_workload(const ResourceKey& key) {
  return key.kind != Kind::kHostEndpoint;
}

}  // namespace

std::map<std::string, std::size_t> HistoryCensus::all_events() {
  std::map<std::string, std::size_t> events;
  for (const auto kind : kDeleted) events.emplace(deletion_of(kind), 0);
  for (const auto* event :
       {kIdentityComesBack,   kOtherIdentity,   kPolicyRenamed,     kHostRenamed,    kStagedEnforced,
        kAddressHandedOver,   kAddressShared,   kAddressOfHost,     kNetWithinNet,   kNetWithEndpoint,
        kOtherTier,           kTierMoved,       kTierActionChanged, kTierGone,       kRelabelled,
        kNamespaceRelabelled, kLabelsAndPolicy, kEndpointMoved,     kInterfaceMoved, kSliceChanged,
        kPortsChanged,        kSettingsChanged, kManyAtOnce}) {
    events.emplace(event, 0);
  }
  return events;
}

void HistoryCensus::note(const policy::Snapshot& before, const Step& step) {
  auto after = before;
  step.apply_to(after);
  note_deletions(before, step);
  note_changes(before, step);
  note_successions(before, step);
  note_addresses(before, after);
  note_nets(after);
}

std::vector<std::string> HistoryCensus::never_seen() const {
  std::vector<std::string> events;
  for (const auto& [event, times] : counts_) {
    if (times == 0) events.push_back(event);
  }
  return events;
}

void HistoryCensus::count(const std::string& what, std::size_t times) {
  counts_.at(what) += times;
}

void HistoryCensus::note_deletions(const policy::Snapshot& before, const Step& step) {
  std::size_t gone = 0;
  for (const auto& [key, resource] : step.entries()) {
    const auto old = before.find(key);
    if (resource) {
      if (const auto last = gone_.find(key); last != gone_.end() && old == before.end()) {
        count(kIdentityComesBack, last->second != *resource ? 1 : 0);
        gone_.erase(last);
      }
      continue;
    }
    if (old == before.end()) continue;
    ++gone;
    gone_.insert_or_assign(key, old->second);
    if (std::ranges::find(kDeleted, key.kind) != kDeleted.end()) count(deletion_of(key.kind));
    const bool in_use = key.kind == Kind::kTier && std::ranges::any_of(before, [&](const auto& entry) {
                          const auto* policy = std::get_if<NetworkPolicy>(&entry.second);
                          return policy != nullptr && policy->tier == key.name;
                        });
    count(kTierGone, in_use ? 1 : 0);
  }
  count(kManyAtOnce, gone > 4 ? 1 : 0);
}

void HistoryCensus::note_changes(const policy::Snapshot& before, const Step& step) {
  bool labels = false;
  bool policies = false;
  for (const auto& [key, resource] : step.entries()) {
    const auto old = before.find(key);
    if (old == before.end() || (resource && *resource == old->second)) continue;
    policies |= is_policy(old->second);
    if (!resource || resource->index() != old->second.index()) continue;
    if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&*resource)) {
      const auto& was = std::get<WorkloadEndpoint>(old->second);
      const bool relabelled = endpoint->metadata.labels != was.metadata.labels;
      count(kRelabelled, relabelled ? 1 : 0);
      labels |= relabelled;
      count(kEndpointMoved, endpoint->node != was.node ? 1 : 0);
      count(kPortsChanged, endpoint->ports != was.ports && !endpoint->ports.empty() ? 1 : 0);
    } else if (const auto* host = std::get_if<HostEndpoint>(&*resource)) {
      count(kInterfaceMoved,
            host->interface_name != std::get<HostEndpoint>(old->second).interface_name ? 1 : 0);
    } else if (const auto* policy = std::get_if<NetworkPolicy>(&*resource)) {
      count(kOtherTier, policy->tier != std::get<NetworkPolicy>(old->second).tier ? 1 : 0);
    } else if (const auto* tier = std::get_if<Tier>(&*resource)) {
      const auto& was = std::get<Tier>(old->second);
      count(kTierMoved, tier->order != was.order ? 1 : 0);
      count(kTierActionChanged, tier->default_action != was.default_action ? 1 : 0);
    } else if (const auto* profile = std::get_if<Profile>(&*resource)) {
      const bool relabelled = profile->labels_to_apply != std::get<Profile>(old->second).labels_to_apply;
      count(kNamespaceRelabelled, key.kind == Kind::kNamespace && relabelled ? 1 : 0);
      labels |= relabelled;
    } else if (std::holds_alternative<EndpointSlice>(*resource)) {
      count(kSliceChanged);
    } else if (std::holds_alternative<FelixConfiguration>(*resource)) {
      count(kSettingsChanged);
    }
  }
  count(kLabelsAndPolicy, labels && policies ? 1 : 0);
}

// What goes and what comes in one step.
void HistoryCensus::note_successions(const policy::Snapshot& before, const Step& step) {
  for (const auto& [gone, nothing] : step.entries()) {
    const auto old = nothing ? before.end() : before.find(gone);
    if (old == before.end()) continue;
    for (const auto& [key, resource] : step.entries()) {
      if (!resource || resource->index() != old->second.index()) continue;
      if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&*resource)) {
        const auto& was = std::get<WorkloadEndpoint>(old->second);
        count(kOtherIdentity, endpoint->addresses == was.addresses && endpoint->workload == was.workload);
      } else if (const auto* host = std::get_if<HostEndpoint>(&*resource)) {
        const auto& was = std::get<HostEndpoint>(old->second);
        count(kHostRenamed, host->interface_name == was.interface_name && host->node == was.node);
      } else if (const auto* policy = std::get_if<NetworkPolicy>(&*resource)) {
        const auto& was = std::get<NetworkPolicy>(old->second);
        if (!same_rules(*policy, was)) continue;
        count(kPolicyRenamed, key.kind == gone.kind && key.name != gone.name);
        count(kStagedEnforced, policy->staged() != was.staged());
      }
    }
  }
}

void HistoryCensus::note_addresses(const policy::Snapshot& before, const policy::Snapshot& after) {
  const auto old = owners_of(before);
  for (const auto& [address, owners] : owners_of(after)) {
    const auto was = old.find(address);
    const auto workloads = static_cast<std::size_t>(std::ranges::count_if(owners, is_workload));
    const auto workloads_before =
        was == old.end() ? 0U : static_cast<std::size_t>(std::ranges::count_if(was->second, is_workload));
    count(kAddressShared, workloads > 1 && workloads_before <= 1 ? 1 : 0);
    count(kAddressOfHost, workloads > 0 && workloads < owners.size() ? 1 : 0);
    const bool handed_over = was != old.end() && std::ranges::none_of(owners, [&](const auto& owner) {
                               return was->second.contains(owner);
                             });
    count(kAddressHandedOver, handed_over ? 1 : 0);
  }
}

void HistoryCensus::note_nets(const policy::Snapshot& after) {
  std::vector<std::pair<ResourceKey, Prefix>> nets;
  for (const auto& [key, resource] : after) {
    if (const auto* set = std::get_if<NetworkSet>(&resource)) {
      for (const auto& net : set->nets) nets.emplace_back(key, net.masked());
    }
  }
  bool within = false;
  for (const auto& [key, net] : nets) {
    within |= std::ranges::any_of(nets, [&](const auto& other) {
      return other.first != key && other.second.length < net.length && other.second.contains(net.address);
    });
  }
  count(kNetWithinNet, within ? 1 : 0);
  const auto owners = owners_of(after);
  const bool holds = std::ranges::any_of(owners, [&](const auto& entry) {
    return std::ranges::any_of(nets, [&](const auto& net) { return net.second.contains(entry.first); });
  });
  count(kNetWithEndpoint, holds ? 1 : 0);
}

}  // namespace ocicat::test
