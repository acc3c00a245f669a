#include "policy/snapshot_view.h"

#include <algorithm>
#include <set>
#include <utility>

#include "policy/host_settings.h"
#include "resources/labels.h"

namespace ocicat::policy {

namespace {

// By the name that endpoints use; of two with one name the first in the order of keys, a Profile itself.
std::map<std::string, const Profile*> profiles_of(const Snapshot& snapshot) {
  std::map<std::string, const Profile*> profiles;
  for (const auto& [key, resource] : snapshot) {
    if (const auto* profile = std::get_if<Profile>(&resource))
      profiles.emplace(profile->metadata.name, profile);
  }
  return profiles;
}

// A member's own label wins, else the first profile that has it.
Labels inherit(Labels labels, const std::vector<std::string>& names,
               const std::map<std::string, const Profile*>& profiles) {
  for (const auto& name : names) {
    const auto profile = profiles.find(name);
    if (profile == profiles.end()) continue;
    for (const auto& [label, value] : profile->second->labels_to_apply) labels.emplace(label, value);
  }
  return labels;
}

Member member_of(const ResourceKey& key, const WorkloadEndpoint& endpoint) {
  const auto& name = endpoint.workload.empty() ? key.name : endpoint.workload;
  Member member{.key = key,
                .title = key.ns.empty() ? name : fmt::format("{}/{}", key.ns, name),
                .labels = endpoint.metadata.labels,
                .profiles = endpoint.profiles,
                .nets = {},
                .ports = endpoint.ports,
                .encapsulation = {}};
  for (const auto& address : endpoint.addresses) member.nets.push_back(Prefix::host(address));
  return member;
}

Member member_of(const ResourceKey& key, const HostEndpoint& endpoint, const HostSettings& settings) {
  Member member{.key = key,
                .title = key.to_string(),
                .labels = endpoint.metadata.labels,
                .profiles = endpoint.profiles,
                .nets = {},
                .ports = endpoint.ports,
                .encapsulation = {},
                .failsafes = settings.failsafes,
                .all_interfaces = endpoint.interface_name == "*",
                .allows_spoofing = settings.allow_spoofing};
  for (const auto& address : endpoint.expected_addresses) member.nets.push_back(Prefix::host(address));
  return member;
}

// A set in a namespace is labelled with it and inherits its labels; a global one has its own labels only.
Member member_of(const ResourceKey& key, const NetworkSet& set) {
  Member member{.key = key,
                .title = key.to_string(),
                .labels = set.metadata.labels,
                .profiles = {},
                .nets = set.nets,
                .ports = {},
                .encapsulation = {}};
  if (const auto& ns = set.metadata.ns; !ns.empty()) {
    member.labels["projectcalico.org/namespace"] = ns;
    member.profiles.push_back(fmt::format("kns.{}", ns));
  }
  return member;
}

// The settings of every host, by name; of an unknown one, those that count everywhere.
class SettingsOf {
 public:
  explicit SettingsOf(const Snapshot& snapshot) {
    for (const auto& [key, resource] : snapshot) {
      if (const auto* configuration = std::get_if<FelixConfiguration>(&resource)) {
        configurations_.emplace(key.name, *configuration);
      } else if (const auto* node = std::get_if<Node>(&resource)) {
        labels_by_node_.emplace(key.name, node->metadata.labels);
      }
    }
  }
  HostSettings operator()(const std::string& node) const {
    const auto labels = labels_by_node_.find(node);
    return resolve_settings(configurations_, node,
                            labels == labels_by_node_.end() ? Labels{} : labels->second);
  }

 private:
  FelixConfigurations configurations_;
  std::map<std::string, Labels> labels_by_node_;
};

void read_members(const Snapshot& snapshot, SnapshotView& view) {
  const auto profiles = profiles_of(snapshot);
  const SettingsOf settings_of(snapshot);
  const auto with_inherited = [&](Member member) {
    member.labels = inherit(std::move(member.labels), member.profiles, profiles);
    return member;
  };
  for (const auto& [key, resource] : snapshot) {
    if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource)) {
      if (endpoint->addresses.empty()) continue;
      const auto settings = settings_of(endpoint->node);
      auto& member = view.endpoints.emplace_back(with_inherited(member_of(key, *endpoint)));
      member.encapsulation = settings.encapsulation;
      member.sources = endpoint->allowed_source_prefixes;
      member.allows_spoofing = settings.allow_spoofing;
    } else if (const auto* host = std::get_if<HostEndpoint>(&resource)) {
      view.endpoints.push_back(with_inherited(member_of(key, *host, settings_of(host->node))));
    } else if (const auto* set = std::get_if<NetworkSet>(&resource)) {
      view.sets.push_back(with_inherited(member_of(key, *set)));
    }
  }
}

// `written` is the policy or profile whose rules they are, `id` what traces call it.
template <class Written>
void read_annotations(const Written& written, const ResourceKey& id, SnapshotView& view) {
  for (const auto direction : kDirections) {
    const auto& rules = direction == Direction::kIngress ? written.ingress : written.egress;
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (rules[i].annotations.empty()) continue;
      view.annotations.emplace(RuleName{id, direction, rules[i].index_at(i)}, rules[i].annotations);
    }
  }
}

void read_profiles(const Snapshot& snapshot, SnapshotView& view) {
  view.profiles.emplace(kDefaultAllowProfile, default_allow_profile());
  for (const auto& [key, resource] : snapshot) {
    const auto* profile = std::get_if<Profile>(&resource);
    if (profile == nullptr) continue;
    auto rules = effective(*profile);
    if (!rules.broken.empty()) view.problems.push_back({key, rules.broken});
    const ResourceKey id{Kind::kProfile, "", rules.name};
    if (view.profiles.emplace(rules.name, std::move(rules)).second) read_annotations(*profile, id, view);
  }
}

void read_slices(const Snapshot& snapshot, SnapshotView& view) {
  for (const auto& [key, resource] : snapshot) {
    if (const auto* slice = std::get_if<EndpointSlice>(&resource)) view.slices.push_back(*slice);
  }
}

void read_policies(const Snapshot& snapshot, SnapshotView& view) {
  std::map<std::string, TierView> tiers;
  for (const auto& [key, resource] : snapshot) {
    if (const auto* tier = std::get_if<Tier>(&resource)) {
      tiers.emplace(tier->metadata.name, TierView{effective(*tier), {}});
    }
  }
  for (const auto& [key, resource] : snapshot) {
    const auto* written = std::get_if<NetworkPolicy>(&resource);
    if (written == nullptr || written->staged_delete) continue;
    auto policy = effective(*written);
    if (!policy) {
      view.problems.push_back({key, policy.error().message});
      continue;
    }
    view.has_staged = view.has_staged || policy->staged;
    read_annotations(*written, policy->id, view);
    if (!policy->broken.empty()) view.problems.push_back({key, policy->broken});
    if (!written->unconverted.empty()) view.problems.push_back({key, written->unconverted});
    const auto tier = tiers.emplace(policy->tier, TierView{undescribed_tier(policy->tier), {}}).first;
    tier->second.policies.push_back(*std::move(policy));
  }
  for (auto& [name, tier] : tiers) {
    if (tier.place.missing) view.problems.push_back({{Kind::kTier, "", name}, about_missing_tier()});
    std::ranges::sort(tier.policies, [](const Policy& a, const Policy& b) { return before(a, b); });
    view.tiers.push_back(std::move(tier));
  }
  std::ranges::sort(view.tiers,
                    [](const TierView& a, const TierView& b) { return before(a.place, b.place); });
}

void report_missing_profiles(SnapshotView& view) {
  std::set<std::string> missing;
  for (const auto& endpoint : view.endpoints) {
    for (const auto& name : endpoint.profiles) {
      if (!view.profiles.contains(name)) missing.insert(name);
    }
  }
  for (const auto& name : missing) {
    view.problems.push_back({{Kind::kProfile, "", name}, about_missing_profile(name)});
  }
}

}  // namespace

bool Member::owns(const IpAddress& address) const {
  return std::ranges::any_of(nets, [&](const Prefix& net) { return net.contains(address); });
}

bool Member::is_selected_by(const Selector& selector) const {
  return selector.matches(LabelsOf{labels});
}

const Member* SnapshotView::endpoint(const ResourceKey& key) const {
  const auto it = std::ranges::find(endpoints, key, &Member::key);
  return it == endpoints.end() ? nullptr : &*it;
}

void SnapshotView::index_addresses() {
  const auto count = static_cast<MemberNumber>(endpoints.size() + sets.size());
  for (MemberNumber number = 0; number < count; ++number) {
    bool wide = false;
    for (const auto& net : member(number).nets) {
      wide |= !net.is_host();
      if (net.is_host()) by_address.emplace_back(net.address, number);
    }
    if (wide) with_wide_nets.push_back(number);
  }
  std::ranges::sort(by_address);
}

std::vector<const Member*> SnapshotView::owners(const IpAddress& address) const {
  std::vector<MemberNumber> numbers;
  const auto same =
      std::ranges::equal_range(by_address, address, {}, &decltype(by_address)::value_type::first);
  for (const auto& [_, number] : same) numbers.push_back(number);
  for (const auto number : with_wide_nets) {
    if (member(number).owns(address)) numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  numbers.erase(std::ranges::unique(numbers).begin(), numbers.end());
  std::vector<const Member*> owners;
  owners.reserve(numbers.size());
  for (const auto number : numbers) owners.push_back(&member(number));
  return owners;
}

SnapshotView view_of(const Snapshot& snapshot) {
  SnapshotView view;
  read_members(snapshot, view);
  view.index_addresses();
  read_profiles(snapshot, view);
  read_slices(snapshot, view);
  read_policies(snapshot, view);
  report_missing_profiles(view);
  return view;
}

}  // namespace ocicat::policy
