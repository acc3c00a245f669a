// Who has an address: workloads, host endpoints and network sets, as resources say.
//
//   memory   about 200 bytes for each endpoint of the cluster; labels that many share are kept once. Who is asked
//            for has a Party besides
//   cost     that of base/prefix_map.h. Of an update, little: nobody is named before he is asked for
#pragma once

#include <boost/container/small_vector.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/changes.h"
#include "base/ip.h"
#include "base/prefix_map.h"
#include "policy/key_pool.h"
#include "policy/sequence_pool.h"
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

// Values that many share: equal ones are one, for as long as somebody holds it.
template <class T, class Hash>
class SharedValues {
 public:
  // O(size of the value), and now and then O(values).
  std::shared_ptr<const T> take(T value) {
    if (const auto found = values_.find(value); found != values_.end()) return *found;
    if (values_.size() >= full_) {
      boost::unordered::erase_if(values_, [](const Held& held) { return held.use_count() == 1; });
      full_ = std::max(kLeast, 2 * values_.size());
    }
    return *values_.insert(std::make_shared<const T>(std::move(value))).first;
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
  static constexpr std::size_t kLeast = 64;

  boost::unordered_flat_set<Held, HashOf, Equal> values_;
  std::size_t full_ = kLeast;  // so many, and those that nobody holds any more go
};

class Directory {
 public:
  Directory();

  // Others than endpoints and network sets are passed over.
  void update(const Changes<ResourceKey, Resource>& changes);

  // Where several have an address: workloads before host endpoints before network sets, longer prefixes
  // before shorter ones, then by key. Valid until the next update().
  const Party& party_of(const IpAddress& address);
  // nullptr: nobody has told of it, or, unless it is a host endpoint, of any address of it.
  const Party* party_of(const ResourceKey& key);

 private:
  using Id = policy::KeyPool::Id;
  using Places = boost::container::small_vector<Prefix, 1>;  // nearly always one
  struct Entry {
    PartyType type = PartyType::kNetwork;
    policy::SequencePool::Id labels = 0;  // names and values, as texts among words
    std::string name;                     // empty: that of its key
    Places places;
    std::unique_ptr<Party> party;  // once somebody has asked for it
  };
  struct Description;
  struct HashOfGroup {
    std::size_t operator()(const Group& group) const;
  };
  struct HashOfLabels {
    std::size_t operator()(const Labels& labels) const;
  };

  static std::optional<Description> description_of(const Resource& resource);
  void remove(const ResourceKey& key);
  void add(const ResourceKey& key, Description described);
  void clear(Id id);
  policy::SequencePool::Id keep(const Labels& labels);
  const Party& named(Id id);
  std::unique_ptr<Party> make_party(Id id);

  policy::KeyPool keys_;
  std::deque<Entry> entries_;  // by key; grows without a copy
  policy::SequencePool labels_;
  std::vector<std::uint32_t> packed_;
  PrefixMap<boost::container::small_vector<Id, 2>> by_place_;  // who counts first
  SharedValues<Group, HashOfGroup> shown_groups_;
  SharedValues<Labels, HashOfLabels> shown_labels_;
  Party public_, private_;
};

// The name that stands for all pods of whoever made this one: what Kubernetes made it from, and "*".
std::string group_name(std::string_view name, const Labels& labels);

// Of nobody else's networks (RFC 1918, RFC 4193), of the link or of the host.
bool is_private(const IpAddress& address);

}  // namespace ocicat::flows
