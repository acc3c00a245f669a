#include "dataplane/ebpf/net_image.h"

#include <algorithm>
#include <bit>
#include <span>

namespace ocicat::dataplane::ebpf {
namespace {

using bpf::net_bits;
using bpf::net_node;
using policy::ClassId;

// IPv4 stands among the IPv4-mapped addresses.
unsigned bits_before(Family family) {
  return family == Family::kIpv4 ? 96 : 0;
}
net_bits bits_of(const IpAddress& address) {
  net_bits bits{};
  for (std::size_t i = 0; i < 8; ++i) {
    bits.high = bits.high << 8 | address.bytes().at(i);
    bits.low = bits.low << 8 | address.bytes().at(i + 8);
  }
  return bits;
}

IpAddress address_of(const net_bits& bits) {
  IpAddress::Bytes bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes.at(i) = static_cast<std::uint8_t>(bits.high >> (56 - 8 * i));
    bytes.at(i + 8) = static_cast<std::uint8_t>(bits.low >> (56 - 8 * i));
  }
  return IpAddress::v6(bytes);
}

// All that share the first so many bits; of IPv4, 96 more.
Prefix prefix_of(const net_bits& first, unsigned bits, Family family) {
  return Prefix{address_of(first), static_cast<std::uint8_t>(bits - bits_before(family))}.masked();
}

// What shares its first bits, and has these behind them.
net_bits with_bits(const net_bits& first, unsigned bits, std::uint64_t behind) {
  const auto shift = 128 - bpf::NET_BITS - bits;
  auto result = first;
  if (shift < 64) result.low |= behind << shift;
  if (shift >= 64) result.high |= behind << (shift - 64);
  if (shift < 64 && shift > 64 - bpf::NET_BITS) result.high |= behind >> (64 - shift);
  return result;
}

unsigned bits_in_common(const net_bits& a, const net_bits& b) {
  const auto high = static_cast<unsigned>(std::countl_zero(a.high ^ b.high));
  return high < 64 ? high : 64 + static_cast<unsigned>(std::countl_zero(a.low ^ b.low));
}

std::uint32_t root_of(const IpAddress& address, Family family) {
  const auto bits = bits_of(address);
  if (family == Family::kIpv4) return static_cast<std::uint32_t>(bits.low) >> (32 - bpf::NET_ROOT_BITS_V4);
  return bpf::NET_ROOTS_V4 + static_cast<std::uint32_t>(bits.high >> (64 - bpf::NET_ROOT_BITS_V6));
}

Family family_of_root(std::uint32_t root) {
  return root < bpf::NET_ROOTS_V4 ? Family::kIpv4 : Family::kIpv6;
}

Prefix prefix_of_root(std::uint32_t root) {
  const auto family = family_of_root(root);
  if (family == Family::kIpv4)
    return {IpAddress::v4(root << (32 - bpf::NET_ROOT_BITS_V4)), bpf::NET_ROOT_BITS_V4};
  const net_bits first{std::uint64_t{root - bpf::NET_ROOTS_V4} << (64 - bpf::NET_ROOT_BITS_V6), 0};
  return prefix_of(first, bpf::NET_ROOT_BITS_V6, family);
}

std::uint32_t plus_one(ClassId id) {
  return static_cast<std::uint32_t>(id) + 1;
}

unsigned bits_of(const net_node& node) {
  return node.place & NET_BITS_MASK;
}
std::uint32_t children_of(const net_node& node) {
  return node.place >> bpf::NET_PLACE_SHIFT;
}
// The node above has looked at so many bits.
void set_skips(net_node& node, unsigned looked_at) {
  node.place &= ~NET_SKIPS;
  if (bits_of(node) > looked_at) node.place |= NET_SKIPS;
}
bool is_empty(const net_node& root) {
  return root.place == 0;
}

bool is_same(const net_node& a, const net_node& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

const Prefix& net_of(const Prefix& net) {
  return net;
}
const Prefix& net_of(const std::pair<const Prefix, ClassId>& entry) {
  return entry.first;
}

// Those within this one and longer.
template <class Sorted>
Stretch<Sorted> longer_than(const Prefix& around, const Sorted& nets) {
  const auto longer = static_cast<std::uint8_t>(around.length + 1);
  return {nets.lower_bound({around.address, longer}), nets.upper_bound({around.last(), 255})};
}

// The first one that does not share so many bits with it.
template <class Sorted>
typename Sorted::const_iterator beyond(const Prefix& net, unsigned length, const Sorted& nets) {
  return nets.upper_bound({Prefix{net.address, static_cast<std::uint8_t>(length)}.last(), 255});
}

// Of nets that share so many bits, and are longer: whether the node for those bits says any of them itself,
// and behind which of the next six bits there are longer ones.
struct Places {
  bool here = false;
  std::uint64_t below = 0;
};
template <class Sorted>
Places places_in(Stretch<Sorted> stretch, unsigned bits, const Sorted& nets) {
  Places found;
  for (auto at = stretch.begin; at != stretch.end;) {
    const auto& net = net_of(*at);
    const auto end_bits = bits + bpf::NET_BITS - bits_before(net.family());
    if (net.length <= end_bits) {
      found.here = true;
      ++at;
      continue;
    }
    const auto address = bits_of(net.address);
    found.below |= std::uint64_t{1} << bpf::net_bits_behind(&address, bits);
    at = beyond(net, end_bits, nets);
  }
  return found;
}

// What a node says itself of each of the next six bits: a class plus one; 0: nothing.
using Said = std::array<std::uint32_t, 1U << bpf::NET_BITS>;

template <class Memory>  // NetMemory, or bpf::nets
Said said_by(const Memory& memory, const net_node& node) {
  Said said{};
  std::uint32_t at = node.classes - 1;
  for (std::size_t i = 0; i < said.size(); ++i) {
    const auto low = node.which[0] >> i & 1, high = node.which[1] >> i & 1;
    at += static_cast<std::uint32_t>(low);
    if (node.classes != 0) said.at(i) = memory.classes[at % bpf::NET_CLASSES_MAX];
    if (node.classes == 0 && (low | high) != 0) said.at(i) = node.here[low | high << 1];
  }
  return said;
}

// The node for so many bits, around these nets.
Said said_by(Stretch<NetImage::Nets> nets, unsigned bits, const NetImage::Nets& wanted) {
  Said said{};
  for (auto at = nets.begin; at != nets.end;) {  // what holds others comes before them
    const auto& [net, id] = *at;
    const auto end_bits = bits + bpf::NET_BITS - bits_before(net.family());
    if (net.length > end_bits) {
      at = beyond(net, end_bits, wanted);
      continue;
    }
    const auto address = bits_of(net.address);
    std::fill_n(said.begin() + bpf::net_bits_behind(&address, bits), 1U << (end_bits - net.length),
                plus_one(id));
    ++at;
  }
  return said;
}

// False, and nothing is put: there are too many classes.
bool put_here(net_node& node, std::span<const std::uint32_t> said) {
  auto filled = node;
  std::uint32_t end = 1;
  for (std::size_t i = 0; i < said.size(); ++i) {
    if (said[i] == 0) continue;
    std::uint32_t at = 1;
    while (at < end && filled.here[at] != said[i]) ++at;
    if (at == bpf::NET_CLASSES_HERE) return false;
    filled.here[at] = said[i];
    end = std::max(end, at + 1);
    filled.which[0] |= std::uint64_t{at & 1} << i;
    filled.which[1] |= std::uint64_t{at >> 1} << i;
  }
  node = filled;
  return true;
}

Extent children_extent(const net_node& node) {
  return {children_of(node), static_cast<std::uint32_t>(std::popcount(node.below))};
}
Extent classes_extent(const net_node& node) {
  return {node.classes, static_cast<std::uint32_t>(std::popcount(node.which[0]))};
}

Error no_room(std::string_view what, std::size_t size) {
  return {ErrorCode::kExhausted,
          fmt::format("no room for more {} of nets: there are {}, for those in force and those to come", what,
                      size)};
}

}  // namespace

Result<void> NetImage::update(Family family, const Nets& wanted, const std::set<Prefix>& changed,
                              Step& step) {
  const Pass pass{family, wanted, &changed, step};
  free_nodes_.clear();  // of an update that did not fit
  free_classes_.clear();
  std::set<std::uint32_t> roots;
  for (const auto& net : changed) {
    if (net.length == 0) continue;
    for (auto root = root_of(net.first(), family); root <= root_of(net.last(), family); ++root)
      roots.insert(root);
  }
  for (const auto root : roots) {
    const Node& old = memory_.roots[root][step.now()];
    TRY_VOID(put_root(root, is_empty(old) ? OldNode{} : old, pass));
  }
  put_all(pass);
  finish(step);
  return {};
}

void NetImage::put_all(const Pass& pass) {
  const auto all = pass.wanted.find({pass.family == Family::kIpv4 ? IpAddress::v4(0) : IpAddress{}, 0});
  const auto id = all == pass.wanted.end() ? ClassId{} : all->second;
  pass.step.set(memory_.all[pass.family == Family::kIpv4], static_cast<std::uint32_t>(id));
}

Result<void> NetImage::resync(const Nets& ipv4, const Nets& ipv6, Step& step) {
  nodes_.clear();
  classes_.clear();
  free_nodes_.clear();
  free_classes_.clear();
  std::vector<OldNode> olds(bpf::NET_ROOTS);
  for (std::uint32_t root = 0; root < bpf::NET_ROOTS; ++root) {
    const Node& old = memory_.roots[root][step.now()];
    if (is_empty(old)) continue;
    const auto around = prefix_of_root(root);
    const auto nodes = free_nodes_.size(), classes = free_classes_.size();
    if (bits_of(old) != around.length + bits_before(around.family()) ||
        address_of(old.first) != around.address || !claim(old))
      continue;  // is made anew; what it leads to is free once the step shows
    free_nodes_.resize(nodes);
    free_classes_.resize(classes);
    olds[root] = old;
  }
  for (const auto family : kFamilies) {
    const Pass pass{family, family == Family::kIpv4 ? ipv4 : ipv6, nullptr, step};
    for (std::uint32_t root = 0; root < bpf::NET_ROOTS; ++root) {
      if (family_of_root(root) == family) TRY_VOID(put_root(root, olds[root], pass));
    }
    put_all(pass);
  }
  finish(step);
  return {};
}

// Whether all that the node leads to is a tree, and nobody else's. Notes what it has claimed.
bool NetImage::claim(const Node& node) {
  if (node.classes != 0) {
    if (!classes_.claim(classes_extent(node))) return false;
    free_classes_.push_back(classes_extent(node));
  }
  if (node.below == 0) return true;
  if (!nodes_.claim(children_extent(node))) return false;
  free_nodes_.push_back(children_extent(node));
  auto left = node.below;
  return std::ranges::all_of(nodes_below(node), [&](const Node& child) {
    const auto behind = static_cast<std::uint64_t>(std::countr_zero(left));
    left &= left - 1;
    const auto from = bits_of(node) + bpf::NET_BITS;
    return bits_of(child) >= from && bits_of(child) + bpf::NET_BITS <= 128 &&
           bits_in_common(child.first, with_bits(node.first, bits_of(node), behind)) >= from && claim(child);
  });
}

void NetImage::finish(Step& step) {
  if (free_nodes_.empty() && free_classes_.empty()) return;
  step.afterwards([this, nodes = std::exchange(free_nodes_, {}),
                   classes = std::exchange(free_classes_, {})]() -> Result<void> {
    for (const auto& extent : nodes) nodes_.release(extent);
    for (const auto& extent : classes) classes_.release(extent);
    return {};
  });
}

std::span<const net_node> NetImage::nodes_below(const Node& node) const {
  return memory_.nodes.part(children_of(node), static_cast<std::size_t>(std::popcount(node.below)));
}

void NetImage::release_arrays(const Node& node) {
  if (node.below != 0) free_nodes_.push_back(children_extent(node));
  if (node.classes != 0) free_classes_.push_back(classes_extent(node));
}

void NetImage::release(const Node& node) {
  for (const auto& child : nodes_below(node)) release(child);
  release_arrays(node);
}

// The nodes that have stood for the next six bits behind these, as far as `old` has any; what else it had is
// to be free. `old` becomes the one that has stood here, whose arrays may stay; nothing: there was none.
NetImage::OldChildren NetImage::open(const net_bits& first, unsigned bits, OldNode& old) {
  OldChildren result;
  if (!old) return result;
  if (bits_in_common(first, old->first) < std::min(bits, bits_of(*old))) {
    release(*old);
    old.reset();
  } else if (bits_of(*old) > bits) {
    result.at(bpf::net_bits_behind(&old->first, bits)) = old;
    old.reset();
  } else {
    OldNode closer;
    auto left = old->below;
    for (const auto& child : nodes_below(*old)) {
      const auto behind = static_cast<std::size_t>(std::countr_zero(left));
      left &= left - 1;
      if (bits_of(*old) == bits) {
        result.at(behind) = child;
      } else if (behind == bpf::net_bits_behind(&first, bits_of(*old))) {
        closer = child;
      } else {
        release(child);
      }
    }
    if (bits_of(*old) == bits) return result;
    release_arrays(*old);
    old = closer;
    return open(first, bits, old);
  }
  return result;
}

// The node for what follows one another, all longer than what is around it.
Result<net_node> NetImage::make_child(unsigned most, Stretch<Nets> nets, const OldNode& old,
                                      const Pass& pass) {
  const auto before = bits_before(pass.family);
  const auto address = bits_of(nets.begin->first.address);
  const auto common = std::min(nets.begin->first.length + before - 1,
                               bits_in_common(address, bits_of(std::prev(nets.end)->first.address)));
  const auto bits = common - (common - most) % bpf::NET_BITS;
  TRY(auto node, make(bits_of(prefix_of(address, bits, pass.family).address), bits, nets, old, pass));
  set_skips(node, most);
  return node;
}

Result<net_node> NetImage::make(const net_bits& first, unsigned bits, Stretch<Nets> nets, const OldNode& old,
                                const Pass& pass) {
  const auto end_bits = bits + bpf::NET_BITS;
  auto same = old;
  const auto old_children = open(first, bits, same);
  Places changed{.here = true, .below = ~0ULL};
  if (pass.changed != nullptr)
    changed = places_in(longer_than(prefix_of(first, bits, pass.family), *pass.changed), bits, *pass.changed);
  const bool stands = same && pass.changed != nullptr;  // but for what has changed
  Node node{};
  node.first = first;
  node.place = bits;
  const auto said = stands && !changed.here ? said_by(memory_, *same) : said_by(nets, bits, pass.wanted);
  auto maybe = stands ? changed.below : places_in(nets, bits, pass.wanted).below;
  for (std::size_t i = 0; i < old_children.size(); ++i)
    maybe |= std::uint64_t{old_children.at(i).has_value()} << i;
  std::vector<Node> children;
  for (; maybe != 0; maybe &= maybe - 1) {
    const auto behind = static_cast<std::size_t>(std::countr_zero(maybe));
    const auto& there = old_children.at(behind);
    if (there && (changed.below >> behind & 1) == 0) {
      children.push_back(*there);
      set_skips(children.back(), end_bits);
    } else {
      const auto longer =
          longer_than(prefix_of(with_bits(first, bits, behind), end_bits, pass.family), pass.wanted);
      if (longer.empty()) {
        if (there) release(*there);
        continue;
      }
      TRY(auto child, make_child(end_bits, longer, there, pass));
      children.push_back(child);
    }
    children.back().here[0] = said.at(behind);
    node.below |= std::uint64_t{1} << behind;
  }
  TRY_VOID(place_children(node, children, same, pass.step));
  TRY_VOID(place_classes(node, said, same, pass.step));
  return node;
}

Result<void> NetImage::place_children(Node& node, const std::vector<Node>& children, const OldNode& same,
                                      Step& step) {
  const bool had_some = same && same->below != 0;
  if (had_some && same->below == node.below && std::ranges::equal(nodes_below(*same), children, is_same)) {
    node.place |= children_of(*same) << bpf::NET_PLACE_SHIFT;
    return {};
  }
  if (had_some) free_nodes_.push_back(children_extent(*same));
  if (children.empty()) return {};
  const auto extent = nodes_.allocate(static_cast<std::uint32_t>(children.size()));
  if (!extent) return std::unexpected(no_room("nodes", bpf::NET_NODES_MAX));
  node.place |= extent->first << bpf::NET_PLACE_SHIFT;
  for (std::size_t i = 0; i < children.size(); ++i) step.write(memory_.nodes[extent->first + i], children[i]);
  return {};
}

Result<void> NetImage::place_classes(Node& node, std::span<const std::uint32_t> said, const OldNode& same,
                                     Step& step) {
  const bool had_some = same && same->classes != 0;
  if (put_here(node, said)) {
    if (had_some) free_classes_.push_back(classes_extent(*same));
    return {};
  }
  std::vector<std::uint32_t> classes;
  for (std::size_t i = 0; i < said.size(); ++i) {
    if (i != 0 && said[i] == said[i - 1]) continue;
    classes.push_back(said[i]);
    node.which[0] |= std::uint64_t{1} << i;
  }
  if (had_some && same->which[0] == node.which[0] &&
      std::ranges::equal(memory_.classes.part(same->classes, classes.size()), classes)) {
    node.classes = same->classes;
    return {};
  }
  if (had_some) free_classes_.push_back(classes_extent(*same));
  const auto extent = classes_.allocate(static_cast<std::uint32_t>(classes.size()));
  if (!extent) return std::unexpected(no_room("classes", bpf::NET_CLASSES_MAX));
  node.classes = extent->first;
  for (std::size_t i = 0; i < classes.size(); ++i) step.write(memory_.classes[node.classes + i], classes[i]);
  return {};
}

// Of all that a root is for: what the longest net says that is no longer than roots are.
std::uint32_t NetImage::class_around(const Prefix& root, const OldNode& old, const Pass& pass) {
  std::uint32_t own = 0;
  bool changed = pass.changed == nullptr || !old;
  for (unsigned length = 1; length <= root.length; ++length) {
    const auto net = Prefix{root.address, static_cast<std::uint8_t>(length)}.masked();
    changed = changed || pass.changed->contains(net);
  }
  if (!changed) return old->here[0];
  for (unsigned length = root.length; length > 0 && own == 0; --length) {
    const auto found = pass.wanted.find(Prefix{root.address, static_cast<std::uint8_t>(length)}.masked());
    if (found != pass.wanted.end()) own = plus_one(found->second);
  }
  return own;
}

Result<void> NetImage::put_root(std::uint32_t root, const OldNode& old, const Pass& pass) {
  const auto around = prefix_of_root(root);
  const auto nets = longer_than(around, pass.wanted);
  const auto own = class_around(around, old, pass);
  if (nets.empty() && own == 0) {
    if (old) release(*old);
    pass.step.set(memory_.roots[root], Node{});
    return {};
  }
  TRY(auto node, make(bits_of(around.address), around.length + bits_before(pass.family), nets, old, pass));
  node.here[0] = own;
  pass.step.set(memory_.roots[root], node);
  return {};
}

namespace {

// Collects what a node and those below it say.
class Reading {
 public:
  Reading(const bpf::nets& nets, std::map<Prefix, ClassId>& found) : nets_(nets), found_(found) {}

  void read(const net_node& node, Family family) {
    const auto said = said_by(nets_, node);
    auto at = children_of(node);
    const auto end_bits = bits_of(node) + bpf::NET_BITS;
    for (std::size_t i = 0; i < said.size(); ++i) {
      const auto around = prefix_of(with_bits(node.first, bits_of(node), i), end_bits, family);
      if (around.family() != family) continue;  // IPv4-mapped, which nobody asks the other tree about
      say(around, said.at(i));
      if ((node.below >> i & 1) == 0) continue;
      const auto& child = nets_.nodes[at++ % bpf::NET_NODES_MAX];
      if (bits_of(child) >= end_bits) read(child, family);  // else somebody is about to change it
    }
  }
  void say(const Prefix& prefix, std::uint32_t one_more) {
    if (one_more != 0) found_.emplace(prefix, ClassId{one_more - 1});
  }

 private:
  const bpf::nets& nets_;
  std::map<Prefix, ClassId>& found_;
};

// Halves that say the same become one.
void join_halves(std::map<Prefix, ClassId>& nets) {
  std::array<std::vector<Prefix>, 129> by_length;
  for (const auto& [net, unused] : nets) by_length.at(net.length).push_back(net);
  for (std::size_t length = by_length.size() - 1; length > 0; --length) {
    for (const auto& half : by_length.at(length)) {
      const auto whole = Prefix{half.address, static_cast<std::uint8_t>(length - 1)}.masked();
      const auto here = nets.find(half), other = nets.find(Prefix{whole.last(), half.length}.masked());
      if (half.address != whole.address || other == nets.end() || other->second != here->second) continue;
      if (!nets.emplace(whole, here->second).second) continue;
      nets.erase(here);
      nets.erase(other);
      by_length.at(length - 1).push_back(whole);
    }
  }
}

}  // namespace

std::map<Prefix, ClassId> nets_in(const bpf::nets& nets, std::size_t side) {
  std::map<Prefix, ClassId> found;
  Reading reading(nets, found);
  for (std::uint32_t root = 0; root < bpf::NET_ROOTS; ++root) {
    const auto& node = nets.roots[root][side];
    if (is_empty(node)) continue;
    reading.say(prefix_of_root(root), node.here[0]);
    reading.read(node, family_of_root(root));
  }
  for (const auto& all : {Prefix{{}, 0}, Prefix{IpAddress::v4(0), 0}})
    reading.say(all, nets.all[all.family() == Family::kIpv4][side] + 1);
  join_halves(found);
  return found;
}

}  // namespace ocicat::dataplane::ebpf
