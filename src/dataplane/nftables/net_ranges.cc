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

}  // namespace

IpAddress NetRanges::first_of_family() const {
  return family_ == Family::kIpv4 ? IpAddress::v4(0) : IpAddress{};
}

IpAddress NetRanges::last_of_family() const {
  return Prefix{first_of_family(), 0}.last();
}

void NetRanges::count_boundaries(const Prefix& prefix, int by) {
  const auto count = [&](const IpAddress& at) {
    const auto it = boundaries_.try_emplace(at, 0).first;
    it->second += by;
    if (it->second == 0) boundaries_.erase(it);
  };
  count(prefix.first());
  if (const auto next = prefix.last().next()) count(*next);
}

void NetRanges::put(const Prefix& prefix, std::optional<policy::ClassId> address_class) {
  const auto it = nets_.find(prefix);
  if (it == nets_.end() && address_class) {
    nets_.emplace(prefix, *address_class);
    ++lengths_[prefix.length];
    count_boundaries(prefix, 1);
  } else if (it != nets_.end() && address_class) {
    it->second = *address_class;
  } else if (it != nets_.end()) {
    nets_.erase(it);
    --lengths_[prefix.length];
    count_boundaries(prefix, -1);
  }
}

std::optional<policy::ClassId> NetRanges::class_of(const IpAddress& address) const {
  for (int length = bits_of(family_); length >= 0; --length) {
    if (lengths_[static_cast<std::size_t>(length)] == 0) continue;
    const auto it = nets_.find(Prefix{address, static_cast<std::uint8_t>(length)}.masked());
    if (it != nets_.end()) return it->second;
  }
  return std::nullopt;
}

// The prefix, and whatever intervals it shares an end with.
NetRanges::Span NetRanges::widened(const Prefix& prefix) const {
  Span span{first_of_family(), last_of_family()};
  if (auto it = boundaries_.upper_bound(prefix.first()); it != boundaries_.begin())
    span.first = std::prev(it)->first;
  if (const auto it = boundaries_.upper_bound(prefix.last()); it != boundaries_.end())
    span.last = before(it->first);
  return span;
}

void NetRanges::add_within(const Span& span, Entries& entries) const {
  IpAddress first = span.first;
  while (true) {
    const auto next = boundaries_.upper_bound(first);
    const IpAddress last = next == boundaries_.end() ? last_of_family() : before(next->first);
    // The class of no set needs no entry: an address without one has it.
    const auto found = class_of(first);
    if (found && *found != policy::ClassId{}) entries.push_back(range_entry(family_, first, last, *found));
    if (last >= span.last) return;
    first = next->first;
  }
}

void NetRanges::update(const std::vector<std::pair<Prefix, std::optional<policy::ClassId>>>& changes,
                       Entries& removed, Entries& added) {
  if (changes.empty()) return;
  // Spans that hold under the boundaries before and after, made disjoint.
  std::vector<Span> spans;
  for (const auto& [prefix, unused] : changes) spans.push_back(widened(prefix));
  std::vector<std::pair<Prefix, std::optional<policy::ClassId>>> undo;
  for (const auto& [prefix, address_class] : changes) {
    const auto it = nets_.find(prefix);
    undo.emplace_back(prefix, it == nets_.end() ? std::nullopt : std::optional(it->second));
    put(prefix, address_class);
  }
  for (const auto& [prefix, unused] : changes) spans.push_back(widened(prefix));
  std::ranges::sort(spans, {}, &Span::first);
  std::vector<Span> disjoint;
  for (const auto& span : spans) {
    if (!disjoint.empty() && span.first <= disjoint.back().last) {
      disjoint.back().last = std::max(disjoint.back().last, span.last);
    } else {
      disjoint.push_back(span);
    }
  }

  Entries after, before;
  for (const auto& span : disjoint) add_within(span, after);
  for (auto it = undo.rbegin(); it != undo.rend(); ++it) put(it->first, it->second);
  for (const auto& span : disjoint) add_within(span, before);
  for (const auto& [prefix, address_class] : changes) put(prefix, address_class);
  std::ranges::sort(before);
  std::ranges::sort(after);
  std::ranges::set_difference(before, after, std::back_inserter(removed));
  std::ranges::set_difference(after, before, std::back_inserter(added));
}

void NetRanges::add_all(Entries& entries) const {
  if (!nets_.empty()) add_within({first_of_family(), last_of_family()}, entries);
}

}  // namespace ocicat::dataplane
