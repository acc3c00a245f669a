// Who has an address: workloads, host endpoints and network sets, as resources say.
//
//   memory   about 200 bytes for each endpoint of the cluster; labels that many share are kept once
//   cost     that of base/prefix_map.h
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered_map.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/changes.h"
#include "base/ip.h"
#include "base/prefix_map.h"
#include "resources/types.h"

namespace ocicat::flows {

enum class PartyType : std::uint8_t { kWorkload, kHost, kNetworkSet, kNetwork };
std::string_view to_string(PartyType type);  // "wep", "hep", "ns", "net": as Calico's flow logs

// What flows are summed up by: the pods of one deployment are one group, "web-6d4cf56db6-*", as are all
// private addresses that nobody has, "pvt", and all public ones, "pub" (semantics.md 9).
struct Group {
  PartyType type = PartyType::kNetwork;
  std::string ns;  // empty: none
  std::string name;

  auto operator<=>(const Group&) const = default;
};

struct Party {
  std::shared_ptr<const Group> group;
  std::string name;                      // empty: nobody's; show the address
  std::shared_ptr<const Labels> labels;  // nullptr: none
};

// Values that many share, kept once.
template <class T, class Hash>
class SharedValues {
 public:
  // One user more. O(size of the value).
  std::shared_ptr<const T> take(const T& value) {
    auto found = users_.find(value);
    if (found == users_.end()) found = users_.emplace(std::make_shared<const T>(value), 0).first;
    ++found->second;
    return found->first;
  }
  // One user fewer; the value goes with the last one, and with whoever else still holds it.
  void give_back(const std::shared_ptr<const T>& value) {
    const auto found = users_.find(value);
    if (--found->second == 0) users_.erase(found);
  }

 private:
  using Held = std::shared_ptr<const T>;
  struct HashOf {
    using is_transparent = void;
    std::size_t operator()(const Held& value) const { return Hash()(*value); }
    std::size_t operator()(const T& value) const { return Hash()(value); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Held& a, const Held& b) const { return a == b || *a == *b; }
    bool operator()(const T& a, const Held& b) const { return a == *b; }
    bool operator()(const Held& a, const T& b) const { return *a == b; }
  };
  boost::unordered_flat_map<Held, std::size_t, HashOf, Equal> users_;
};

class Directory {
 public:
  Directory();

  // Others than endpoints and network sets are passed over.
  void update(const Changes<ResourceKey, Resource>& changes);

  // Where several have an address: workloads before host endpoints before network sets, longer prefixes
  // before shorter ones, then by key. Valid until the next update().
  const Party& party_of(const IpAddress& address) const;

 private:
  struct Owned {
    Party party;
    std::vector<Prefix> places;
  };
  struct HashOfKey {
    std::size_t operator()(const ResourceKey& key) const;
  };
  struct HashOfGroup {
    std::size_t operator()(const Group& group) const;
  };
  struct HashOfLabels {
    std::size_t operator()(const Labels& labels) const;
  };
  using Owners = boost::unordered_map<ResourceKey, Owned, HashOfKey>;  // entries stay where they are
  using Claim = const Owners::value_type*;

  void remove(const ResourceKey& key);
  void add(const ResourceKey& key, Owned owned);

  Owners owners_;
  PrefixMap<std::vector<Claim>> by_place_;  // who counts first
  SharedValues<Group, HashOfGroup> groups_;
  SharedValues<Labels, HashOfLabels> labels_;
  Party public_, private_;
};

// The name that stands for all pods of whoever made this one: what Kubernetes made it from, and "*".
std::string group_name(std::string_view name, const Labels& labels);

// Of nobody else's networks (RFC 1918, RFC 4193), of the link or of the host.
bool is_private(const IpAddress& address);

}  // namespace ocicat::flows
