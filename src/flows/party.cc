#include "flows/party.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>
#include <type_traits>
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

// It borrows the name and the labels.
struct Directory::Description {
  PartyType type{};
  std::string_view name;
  const Labels* labels = nullptr;
  Places places;
};

std::optional<Directory::Description> Directory::description_of(const Resource& resource) {
  const auto described = [](PartyType type, std::string_view name, const Metadata& metadata,
                            const auto& addresses) {
    Description description{type, name, &metadata.labels, {}};
    for (const auto& address : addresses) {
      if constexpr (std::is_same_v<decltype(address), const Prefix&>) {
        description.places.push_back(address.masked());
      } else {
        description.places.push_back(Prefix::host(address));
      }
    }
    auto& places = description.places;
    if (places.size() > 1) {
      std::ranges::sort(places);
      places.erase(std::ranges::unique(places).begin(), places.end());
    }
    return description;
  };
  if (const auto* workload = std::get_if<WorkloadEndpoint>(&resource)) {
    const auto& metadata = workload->metadata;
    return described(PartyType::kWorkload, workload->workload.empty() ? metadata.name : workload->workload,
                     metadata, workload->addresses);
  }
  if (const auto* host = std::get_if<HostEndpoint>(&resource))
    return described(PartyType::kHost, host->metadata.name, host->metadata, host->expected_addresses);
  if (const auto* set = std::get_if<NetworkSet>(&resource))
    return described(PartyType::kNetworkSet, set->metadata.name, set->metadata, set->nets);
  return std::nullopt;
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

// Who it stands for is nobody's from here on.
void Directory::clear(Id id) {
  auto& entry = entries_[id];
  for (const auto& place : entry.places) {
    auto& claims = *by_place_.find(place);
    claims.erase(std::ranges::find(claims, id));
    if (claims.empty()) by_place_.erase(place);
  }
  labels_.release(entry.labels);
  entry = {};
}

void Directory::remove(const ResourceKey& key) {
  const auto id = keys_.find(key);
  if (id == 0) return;
  clear(id);
  keys_.release(id);
}

void Directory::add(const ResourceKey& key, Description described) {
  const auto [id, is_new] = keys_.acquire(key);
  if (entries_.size() <= id) entries_.resize(id + 1);
  if (!is_new) {
    keys_.release(id);
    clear(id);
  }
  const auto counts_first = [this](Id a, Id b) {
    const auto key_a = keys_[a], key_b = keys_[b];
    const auto rank_a = rank_of(key_a.kind), rank_b = rank_of(key_b.kind);
    return rank_a != rank_b ? rank_a < rank_b : key_a < key_b;
  };
  for (const auto& place : described.places) {
    auto& claims = *by_place_.try_emplace(place).first;
    claims.insert(std::ranges::upper_bound(claims, id, counts_first), id);
  }
  auto& entry = entries_[id];
  entry.type = described.type;
  entry.labels = keep(*described.labels);
  if (described.name != key.name) entry.name = described.name;
  entry.places = std::move(described.places);
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
    auto described = resource ? description_of(*resource) : std::nullopt;
    // The interfaces of a host endpoint may be all that it is known by.
    if (described && (described->type == PartyType::kHost || !described->places.empty())) {
      add(key, *std::move(described));
    } else {
      remove(key);
    }
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
  return named(claims->front());
}

const Party* Directory::party_of(const ResourceKey& key) {
  const auto id = keys_.find(key);
  return id == 0 ? nullptr : &named(id);
}

const Party& Directory::named(Id id) {
  auto& party = entries_[id].party;
  if (!party) party = make_party(id);
  return *party;
}

}  // namespace ocicat::flows
