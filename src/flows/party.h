// Who has an address: workloads, host endpoints and network sets, as resources say.
//
//   memory   about 200 bytes for each endpoint of the cluster; labels that many share are kept once
//   cost     that of base/prefix_map.h
#pragma once

#include <cstdint>
#include <map>
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
  using Owners = std::map<ResourceKey, Owned>;
  using Claim = const Owners::value_type*;

  void remove(const ResourceKey& key);
  void add(const ResourceKey& key, Owned owned);
  std::shared_ptr<const Group> group_of(Group group);
  std::shared_ptr<const Labels> shared(const Labels& labels);

  Owners owners_;
  PrefixMap<std::vector<Claim>> by_place_;  // who counts first
  std::map<Group, std::weak_ptr<const Group>> groups_;
  std::map<Labels, std::weak_ptr<const Labels>> labels_;
  Party public_, private_;
};

// The name that stands for all pods of whoever made this one: what Kubernetes made it from, and "*".
std::string group_name(std::string_view name, const Labels& labels);

// Of nobody else's networks (RFC 1918, RFC 4193), of the link or of the host.
bool is_private(const IpAddress& address);

}  // namespace ocicat::flows
