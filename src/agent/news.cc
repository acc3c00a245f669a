#include "agent/news.h"

#include <utility>

namespace ocicat::agent {

void News::absorb(News later) {
  if (later.report) report = std::move(later.report);
  if (later.counters) counters = later.counters;
  unreadable.absorb(std::move(later.unreadable));
  refused.absorb(std::move(later.refused));
  bounded.absorb(std::move(later.bounded));
  if (later.bgp) bgp = std::move(later.bgp);
  if (later.own_node) own_node = std::move(later.own_node);
}

}  // namespace ocicat::agent
