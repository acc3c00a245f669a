#include "flows/party.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "policy/string_pool.h"

namespace ocicat::flows {
namespace {

const std::string* find(const Labels& labels, const char* name) {
  const auto found = labels.find(name);
  return found == labels.end() ? nullptr : &found->second;
}

std::uint8_t rank_of(Kind kind) {
  if (kind == Kind::kWorkloadEndpoint || kind == Kind::kPod) return 0;
  return kind == Kind::kHostEndpoint ? 1 : 2;
}

constexpr std::size_t kMix = 0x9e3779b97f4a7c15;

std::size_t hash_of(std::initializer_list<std::string_view> texts) {
  std::size_t hash = 0;
  for (const auto text : texts) hash = (hash ^ std::hash<std::string_view>()(text)) * kMix;
  return hash;
}

struct Description {
  PartyType type{};
  std::string_view name;
  const Labels* labels = nullptr;
  std::vector<Prefix> places;
};

std::vector<Prefix> hosts_of(const std::vector<IpAddress>& addresses) {
  std::vector<Prefix> prefixes;
  prefixes.reserve(addresses.size());
  for (const auto& address : addresses) prefixes.push_back(Prefix::host(address));
  return prefixes;
}

// It borrows the name and the labels.
std::optional<Description> description_of(const Resource& resource) {
  if (const auto* workload = std::get_if<WorkloadEndpoint>(&resource)) {
    const auto& metadata = workload->metadata;
    const auto& shown = workload->workload.empty() ? metadata.name : workload->workload;
    return Description{PartyType::kWorkload, shown, &metadata.labels, hosts_of(workload->addresses)};
  }
  if (const auto* host = std::get_if<HostEndpoint>(&resource)) {
    return Description{PartyType::kHost, host->metadata.name, &host->metadata.labels,
                       hosts_of(host->expected_addresses)};
  }
  if (const auto* set = std::get_if<NetworkSet>(&resource)) {
    return Description{PartyType::kNetworkSet, set->metadata.name, &set->metadata.labels, set->nets};
  }
  return std::nullopt;
}

}  // namespace

std::string_view to_string(PartyType type) {
  constexpr std::array kNames{"wep", "hep", "ns", "net"};
  return kNames[static_cast<std::size_t>(type)];
}

std::string group_name(std::string_view name, const Labels& labels) {
  const auto stem = [&](std::size_t length) { return std::string(name.substr(0, length)) + "*"; };
  if (const auto* hash = find(labels, "pod-template-hash"); hash != nullptr && !hash->empty()) {
    const auto middle = "-" + *hash + "-";
    if (const auto at = name.rfind(middle); at != std::string_view::npos) return stem(at + middle.size());
  }
  // A StatefulSet's pods have names of their own, a Job's and a DaemonSet's end in five random letters.
  const bool random = (find(labels, "controller-revision-hash") != nullptr ||
                       find(labels, "batch.kubernetes.io/job-name") != nullptr) &&
                      find(labels, "statefulset.kubernetes.io/pod-name") == nullptr;
  if (const auto at = name.rfind('-'); random && at != std::string_view::npos && name.size() - at == 6)
    return stem(at + 1);
  return std::string(name);
}

bool is_private(const IpAddress& address) {
  static const auto kNets = [] {
    std::vector<Prefix> nets;
    for (const char* net : {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
                            "fc00::/7", "fe80::/10", "::1/128"}) {
      nets.push_back(*Prefix::parse(net));
    }
    return nets;
  }();
  return std::ranges::any_of(kNets, [&](const Prefix& net) { return net.contains(address); });
}

Directory::Directory() {
  public_.group = std::make_shared<const Group>(Group{PartyType::kNetwork, "", "pub"});
  private_.group = std::make_shared<const Group>(Group{PartyType::kNetwork, "", "pvt"});
}

std::size_t Directory::HashOfGroup::operator()(const Group& group) const {
  return hash_of({group.ns, group.name}) ^ static_cast<std::size_t>(group.type);
}
std::size_t Directory::HashOfLabels::operator()(const Labels& labels) const {
  std::size_t hash = labels.size();
  for (const auto& [name, value] : labels) hash = hash * kMix ^ hash_of({name, value});
  return hash;
}

void Directory::remove(const ResourceKey& key) {
  const auto id = keys_.find(key);
  if (id == 0) return;
  auto& entry = entries_[id];
  for (const auto& place : entry.places) {
    auto& claims = *by_place_.find(place);
    claims.erase(std::ranges::find(claims, id));
    if (claims.empty()) by_place_.erase(place);
  }
  labels_.release(entry.labels);
  entry = {};
  keys_.release(id);
}

void Directory::add(const ResourceKey& key, Entry entry) {
  const auto id = keys_.acquire(key).id;
  if (entries_.size() <= id) entries_.resize(id + 1);
  const auto counts_first = [this](Id a, Id b) {
    const auto key_a = keys_[a], key_b = keys_[b];
    const auto rank_a = rank_of(key_a.kind), rank_b = rank_of(key_b.kind);
    return rank_a != rank_b ? rank_a < rank_b : key_a < key_b;
  };
  for (const auto& place : entry.places) {
    auto& claims = *by_place_.try_emplace(place).first;
    claims.insert(std::ranges::upper_bound(claims, id, counts_first), id);
  }
  entries_[id] = std::move(entry);
}

policy::SequencePool::Id Directory::keep(const Labels& labels) {
  packed_.clear();
  for (const auto& [name, value] : labels) {
    policy::append_text(name, packed_);
    policy::append_text(value, packed_);
  }
  return labels_.acquire(packed_).id;
}

void Directory::update(const Changes<ResourceKey, Resource>& changes) {
  for (const auto& [key, resource] : changes.entries()) {
    remove(key);
    if (!resource) continue;
    auto described = description_of(*resource);
    if (!described || described->places.empty()) continue;
    auto& places = described->places;
    for (auto& place : places) place = place.masked();
    std::ranges::sort(places);
    places.erase(std::ranges::unique(places).begin(), places.end());
    const auto own_name = described->name == key.name ? std::string_view() : described->name;
    add(key, {described->type, keep(*described->labels), std::string(own_name), std::move(places), nullptr});
  }
}

std::unique_ptr<Party> Directory::make_party(Id id) {
  const auto& entry = entries_[id];
  auto key = keys_[id];
  auto& name = entry.name.empty() ? key.name : entry.name;
  Labels labels;
  const auto words = labels_[entry.labels];
  for (std::size_t at = 0; at < words.size();) {
    std::string label(policy::read_text(words, at));
    labels.emplace_hint(labels.end(), std::move(label), policy::read_text(words, at));
  }
  Group group{entry.type, std::move(key.ns),
              entry.type == PartyType::kWorkload ? group_name(name, labels) : name};
  return std::make_unique<Party>(shown_groups_.take(std::move(group)), name,
                                 labels.empty() ? nullptr : shown_labels_.take(std::move(labels)));
}

const Party& Directory::party_of(const IpAddress& address) {
  const auto* claims = by_place_.longest(address);
  if (claims == nullptr) return is_private(address) ? private_ : public_;
  auto& party = entries_[claims->front()].party;
  if (!party) party = make_party(claims->front());
  return *party;
}

}  // namespace ocicat::flows
