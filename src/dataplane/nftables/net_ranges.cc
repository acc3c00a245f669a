#include "dataplane/nftables/net_ranges.h"

#include <algorithm>

namespace ocicat::dataplane {
namespace {

// The address before, as a number: among IPv6's there are those that stand for IPv4. Only where there is one.
IpAddress before(const IpAddress& address) {
  auto bytes = address.bytes();
  for (std::size_t i = bytes.size(); i-- > 0;) {
    if (bytes[i]-- != 0) break;
  }
  return IpAddress::v6(bytes);
}

// An interval of IPv6 may begin where addresses stand for IPv4: its family is not for them to tell.
Prefix masked(Family family, const IpAddress& address, int length) {
  auto bytes = address.bytes();
  const auto kept = bytes.size() * 8 - static_cast<std::size_t>(bits_of(family) - length);
  for (std::size_t bit = kept; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] & ~(0x80 >> bit % 8));
  }
  return {IpAddress::v6(bytes), static_cast<std::uint8_t>(length)};
}

}  // namespace

IpAddress NetRanges::first_of_family() const {
  return family_ == Family::kIpv4 ? IpAddress::v4(0) : IpAddress{};
}

IpAddress NetRanges::last_of_family() const {
  return Prefix{first_of_family(), 0}.last();
}

void NetRanges::count_boundaries(const Prefix& net, int by) {
  const auto count = [&](const IpAddress& at) {
    const auto it = boundaries_.try_emplace(at, 0).first;
    it->second += by;
    if (it->second == 0) boundaries_.erase(it);
  };
  count(net.first());
  if (const auto next = net.last().next()) count(*next);
}

std::optional<Prefix> NetRanges::net_of(const IpAddress& address, int shorter_than) const {
  for (int length = shorter_than - 1; length >= 0; --length) {
    if (lengths_[static_cast<std::size_t>(length)] == 0) continue;
    const auto net = masked(family_, address, length);
    if (nets_.contains(net)) return net;
  }
  return std::nullopt;
}

policy::ClassId NetRanges::outer_class(const Prefix& net) const {
  const auto outer = net_of(net.address, net.length);
  return outer ? nets_.at(*outer) : policy::ClassId{};
}

// The intervals that the nets share an address with, made disjoint.
std::vector<NetRanges::Span> NetRanges::spans_of(const Nets& nets) const {
  std::vector<Span> spans;
  for (const auto& [net, unused] : nets) {
    Span span{first_of_family(), last_of_family()};
    if (auto it = boundaries_.upper_bound(net.first()); it != boundaries_.begin())
      span.first = std::prev(it)->first;
    if (const auto it = boundaries_.upper_bound(net.last()); it != boundaries_.end())
      span.last = before(it->first);
    spans.push_back(span);
  }
  std::ranges::sort(spans, {}, &Span::first);
  std::vector<Span> disjoint;
  for (const auto& span : spans) {
    if (!disjoint.empty() && span.first <= disjoint.back().last) {
      disjoint.back().last = std::max(disjoint.back().last, span.last);
    } else {
      disjoint.push_back(span);
    }
  }
  return disjoint;
}

void NetRanges::add_within(const Span& span, Entries& entries) const {
  IpAddress first = span.first;
  while (true) {
    const auto next = boundaries_.upper_bound(first);
    const IpAddress last = next == boundaries_.end() ? last_of_family() : before(next->first);
    entries.push_back(range_entry(family_, first, last, net_of(first, bits_of(family_))));
    if (last >= span.last) return;
    first = next->first;
  }
}

// What becomes of intervals. Without new boundaries they are wider, so that is how they are compared.
Transaction NetRanges::insert(const Nets& nets) {
  Entries before, after;
  const auto spans = spans_of(nets);
  for (const auto& span : spans) add_within(span, before);
  for (const auto& [net, address_class] : nets) {
    CHECK(nets_.emplace(net, address_class).second);
    ++lengths_[net.length];
    count_boundaries(net, 1);
  }
  for (const auto& span : spans) add_within(span, after);
  Transaction intervals;
  add_difference(std::move(before), std::move(after), intervals);
  return intervals;
}

void NetRanges::take_out(const Nets& nets) {
  for (const auto& [net, unused] : nets) {
    CHECK(nets_.erase(net) == 1);
    --lengths_[net.length];
    count_boundaries(net, -1);
  }
}

Transaction NetRanges::erase(const Nets& nets) {
  take_out(nets);
  auto intervals = insert(nets);
  take_out(nets);
  std::swap(intervals.removed, intervals.added);
  return intervals;
}

void NetRanges::update(const NetChanges& changes, PolicyDelta& delta) {
  Nets coming, going;
  for (const auto& [net, address_class] : changes) {
    const bool known = nets_.contains(net);
    if (address_class && !known) coming.emplace_back(net, outer_class(net));
    if (!address_class && known) going.emplace_back(net, policy::ClassId{});
  }
  const auto append = [](Entries& to, const Entries& from) { to.insert(to.end(), from.begin(), from.end()); };
  if (!coming.empty()) {
    const auto intervals = insert(coming);
    append(delta.prepared.removed, intervals.removed);
    append(delta.prepared.added, intervals.added);
    for (const auto& [net, address_class] : coming)
      delta.prepared.added.push_back(net_entry(net, address_class));
  }
  // What goes has the class of what will be around it. Wider ones first: they may be around others that go.
  const auto set_class = [&](const Prefix& net, policy::ClassId after) {
    auto& now = nets_.at(net);
    if (now == after) return;
    delta.step.removed.push_back(net_entry(net, now));
    delta.step.added.push_back(net_entry(net, after));
    now = after;
  };
  for (const auto& [net, address_class] : changes) {
    if (address_class) set_class(net, *address_class);
  }
  std::ranges::sort(going, {}, [](const auto& one) { return one.first.length; });
  for (const auto& [net, unused] : going) set_class(net, outer_class(net));
  if (going.empty()) return;
  for (const auto& [net, unused] : going) delta.garbage.push_back(net_entry(net, nets_.at(net)));
  const auto intervals = erase(going);
  append(delta.settled.removed, intervals.removed);
  append(delta.settled.added, intervals.added);
}

void NetRanges::add_all(Entries& entries) const {
  for (const auto& [net, address_class] : nets_) entries.push_back(net_entry(net, address_class));
  add_within({first_of_family(), last_of_family()}, entries);
}

}  // namespace ocicat::dataplane
