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

bool is_same(const net_node& a, const net_node& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

Extent children_extent(const net_node& node) {
  return {node.children, static_cast<std::uint32_t>(std::popcount(node.below))};
}
Extent classes_extent(const net_node& node) {
  return {node.classes, static_cast<std::uint32_t>(std::popcount(node.begins))};
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
    TRY_VOID(put_root(root, old.bits == 0 ? OldNode{} : old, pass));
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
    if (old.bits == 0) continue;
    const auto around = prefix_of_root(root);
    const auto nodes = free_nodes_.size(), classes = free_classes_.size();
    if (old.bits != around.length + bits_before(around.family()) || address_of(old.first) != around.address ||
        !claim(old))
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
  return std::ranges::all_of(children_of(node), [&](const Node& child) {
    const auto behind = static_cast<std::uint64_t>(std::countr_zero(left));
    left &= left - 1;
    const auto from = node.bits + unsigned{bpf::NET_BITS};
    return child.bits >= from && child.bits + unsigned{bpf::NET_BITS} <= 128 &&
           bits_in_common(child.first, with_bits(node.first, node.bits, behind)) >= from && claim(child);
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

std::span<const net_node> NetImage::children_of(const Node& node) const {
  return std::span(memory_.nodes).subspan(node.children, static_cast<std::size_t>(std::popcount(node.below)));
}

void NetImage::release_arrays(const Node& node) {
  if (node.below != 0) free_nodes_.push_back(children_extent(node));
  if (node.classes != 0) free_classes_.push_back(classes_extent(node));
}

void NetImage::release(const Node& node) {
  for (const auto& child : children_of(node)) release(child);
  release_arrays(node);
}

// The nodes that have stood for the next six bits behind these, as far as `old` has any; what else it had is
// to be free. `old` becomes the one that has stood here, whose arrays may stay; nothing: there was none.
NetImage::OldChildren NetImage::open(const net_bits& first, unsigned bits, OldNode& old) {
  OldChildren result;
  if (!old) return result;
  if (bits_in_common(first, old->first) < std::min<unsigned>(bits, old->bits)) {
    release(*old);
    old.reset();
  } else if (old->bits > bits) {
    result.at(bpf::net_bits_behind(&old->first, bits)) = old;
    old.reset();
  } else {
    OldNode closer;
    auto left = old->below;
    for (const auto& child : children_of(*old)) {
      const auto behind = static_cast<std::size_t>(std::countr_zero(left));
      left &= left - 1;
      if (old->bits == bits) {
        result.at(behind) = child;
      } else if (behind == bpf::net_bits_behind(&first, old->bits)) {
        closer = child;
      } else {
        release(child);
      }
    }
    if (old->bits == bits) return result;
    release_arrays(*old);
    old = closer;
    return open(first, bits, old);
  }
  return result;
}

bool NetImage::is_changed(const Prefix& around, const Pass& pass) const {
  if (pass.changed == nullptr) return true;
  const auto longer = static_cast<std::uint8_t>(around.length + 1);
  const auto found = pass.changed->lower_bound({around.address, longer});
  return found != pass.changed->end() && around.contains(found->address);
}

// The node for what follows one another, all longer than what is around it.
Result<net_node> NetImage::make_child(unsigned most, Stretch nets, const OldNode& old, const Pass& pass) {
  const auto before = bits_before(pass.family);
  const auto address = bits_of(nets.begin->first.address);
  const auto common = std::min(nets.begin->first.length + before - 1,
                               bits_in_common(address, bits_of(std::prev(nets.end)->first.address)));
  const auto bits = common - (common - most) % bpf::NET_BITS;
  TRY(auto node, make(bits_of(prefix_of(address, bits, pass.family).address), bits, nets, old, pass));
  node.skips = bits > most ? 1 : 0;
  return node;
}

Result<net_node> NetImage::make(const net_bits& first, unsigned bits, Stretch nets, const OldNode& old,
                                const Pass& pass) {
  const auto before = bits_before(pass.family);
  const auto end_bits = bits + bpf::NET_BITS;
  auto same = old;
  const auto old_children = open(first, bits, same);
  Node node{};
  node.first = first;
  node.bits = static_cast<std::uint8_t>(bits);
  std::array<std::uint32_t, 1U << bpf::NET_BITS> said{};
  std::vector<Node> children;
  for (auto at = nets.begin; at != nets.end;) {  // what holds others comes before them
    const auto& [net, id] = *at;
    const auto address = bits_of(net.address);
    const auto behind = bpf::net_bits_behind(&address, bits);
    if (net.length + before <= end_bits) {
      std::fill_n(said.begin() + behind, 1U << (end_bits - before - net.length), plus_one(id));
      ++at;
      continue;
    }
    const auto around = prefix_of(address, end_bits, pass.family);
    const Stretch longer{at, pass.wanted.upper_bound({around.last(), 255})};
    const auto& there = old_children.at(behind);
    if (there && !is_changed(around, pass)) {
      children.push_back(*there);
      children.back().skips = there->bits > end_bits ? 1 : 0;
    } else {
      TRY(auto child, make_child(end_bits, longer, there, pass));
      children.push_back(child);
    }
    children.back().own = said.at(behind);
    node.below |= std::uint64_t{1} << behind;
    at = longer.end;
  }
  for (std::size_t i = 0; i < old_children.size(); ++i) {
    if (old_children.at(i) && (node.below >> i & 1) == 0) release(*old_children.at(i));
  }
  TRY_VOID(place_children(node, children, same, pass.step));
  std::vector<std::uint32_t> classes;
  for (std::size_t i = 0; i < said.size(); ++i) {
    if (i != 0 && said.at(i) == said.at(i - 1)) continue;
    classes.push_back(said.at(i));
    node.begins |= std::uint64_t{1} << i;
  }
  TRY_VOID(place_classes(node, classes, same, pass.step));
  return node;
}

Result<void> NetImage::place_children(Node& node, const std::vector<Node>& children, const OldNode& same,
                                      Step& step) {
  const bool had_some = same && same->below != 0;
  if (had_some && same->below == node.below && std::ranges::equal(children_of(*same), children, is_same)) {
    node.children = same->children;
    return {};
  }
  if (had_some) free_nodes_.push_back(children_extent(*same));
  if (children.empty()) return {};
  const auto extent = nodes_.allocate(static_cast<std::uint32_t>(children.size()));
  if (!extent) return std::unexpected(no_room("nodes", bpf::NET_NODES_MAX));
  node.children = extent->first;
  for (std::size_t i = 0; i < children.size(); ++i) step.write(memory_.nodes[node.children + i], children[i]);
  return {};
}

Result<void> NetImage::place_classes(Node& node, const std::vector<std::uint32_t>& classes,
                                     const OldNode& same, Step& step) {
  const bool had_some = same && same->classes != 0;
  const auto there =
      had_some
          ? std::span<const std::uint32_t>(memory_.classes).subspan(same->classes, classes_extent(*same).size)
          : std::span<const std::uint32_t>();
  if (had_some && same->begins == node.begins && std::ranges::equal(there, classes)) {
    node.classes = same->classes;
    return {};
  }
  if (had_some) free_classes_.push_back(classes_extent(*same));
  if (classes.size() <= bpf::NET_CLASSES_HERE) {
    std::ranges::copy(classes, node.here);
    return {};
  }
  const auto extent = classes_.allocate(static_cast<std::uint32_t>(classes.size()));
  if (!extent) return std::unexpected(no_room("classes", bpf::NET_CLASSES_MAX));
  node.classes = extent->first;
  for (std::size_t i = 0; i < classes.size(); ++i) step.write(memory_.classes[node.classes + i], classes[i]);
  return {};
}

Result<void> NetImage::put_root(std::uint32_t root, const OldNode& old, const Pass& pass) {
  const auto around = prefix_of_root(root);
  const auto longer = static_cast<std::uint8_t>(around.length + 1);
  const Stretch nets{pass.wanted.lower_bound({around.address, longer}),
                     pass.wanted.upper_bound({around.last(), 255})};
  std::uint32_t own = 0;
  for (unsigned length = around.length; length > 0 && own == 0; --length) {
    const auto found = pass.wanted.find(Prefix{around.address, static_cast<std::uint8_t>(length)}.masked());
    if (found != pass.wanted.end()) own = plus_one(found->second);
  }
  if (nets.empty() && own == 0) {
    if (old) release(*old);
    pass.step.set(memory_.roots[root], Node{});
    return {};
  }
  TRY(auto node, make(bits_of(around.address), around.length + bits_before(pass.family), nets, old, pass));
  node.own = own;
  pass.step.set(memory_.roots[root], node);
  return {};
}

namespace {

// Collects what a node and those below it say.
class Reading {
 public:
  Reading(const bpf::nets& nets, std::map<Prefix, ClassId>& found) : nets_(nets), found_(found) {}

  void read(const net_node& node, Family family) {
    for (std::uint64_t i = 0; i < 1U << bpf::NET_BITS; ++i) {
      const auto first = with_bits(node.first, node.bits, i);
      const auto bit = std::uint64_t{1} << i;
      const auto around = prefix_of(first, node.bits + unsigned{bpf::NET_BITS}, family);
      if (around.family() != family) continue;  // IPv4-mapped, which nobody asks the other tree about
      if ((node.below & bit) != 0) {
        const auto behind = static_cast<std::uint32_t>(std::popcount(node.below & (bit - 1)));
        const auto& child = nets_.nodes[(node.children + behind) % bpf::NET_NODES_MAX];
        say(around, child.own);
        read(child, family);
        continue;
      }
      const auto at = static_cast<std::uint32_t>(std::popcount(node.begins & (bit | (bit - 1)))) - 1;
      say(around, node.classes != 0 ? nets_.classes[(node.classes + at) % bpf::NET_CLASSES_MAX]
                                    : node.here[at % bpf::NET_CLASSES_HERE]);
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
    if (node.bits == 0) continue;
    reading.say(prefix_of_root(root), node.own);
    reading.read(node, family_of_root(root));
  }
  for (const auto& all : {Prefix{{}, 0}, Prefix{IpAddress::v4(0), 0}})
    reading.say(all, nets.all[all.family() == Family::kIpv4][side] + 1);
  join_halves(found);
  return found;
}

}  // namespace ocicat::dataplane::ebpf
