#include "dataplane/routes/hop_table.h"

namespace ocicat::dataplane {

void HopTable::learn(const std::vector<kernel::HopObject>& there) {
  hops_.clear();
  by_way_.clear();
  for (const auto& hop : there) add(hop);
}

// Of several that lead one way the first counts.
void HopTable::add(const kernel::HopObject& hop) {
  hops_.insert_or_assign(hop.number, hop);
  if (hop.link != 0) by_way_.try_emplace({hop.link, hop.gateway}, hop.number);
}

void HopTable::remove(const kernel::HopObject& hop) {
  hops_.erase(hop.number);
  const auto way = by_way_.find({hop.link, hop.gateway});
  if (way != by_way_.end() && way->second == hop.number) by_way_.erase(way);
}

const kernel::HopObject* HopTable::find(std::uint32_t number) const {
  const auto found = hops_.find(number);
  return found == hops_.end() ? nullptr : &found->second;
}

std::uint32_t HopTable::leading(int link, const IpAddress& gateway) const {
  const auto found = by_way_.find({link, gateway});
  return found == by_way_.end() ? 0 : found->second;
}

kernel::HopObject HopTable::next(int link, const IpAddress& gateway) {
  while (hops_.contains(next_)) ++next_;
  kernel::HopObject hop{next_++, link, gateway};
  if (next_ == 0) next_ = kFirstHop;
  return hop;
}

}  // namespace ocicat::dataplane
