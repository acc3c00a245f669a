#include "flows/aggregator.h"

#include <algorithm>
#include <utility>

namespace ocicat::flows {
namespace {

// What both say.
void intersect(std::shared_ptr<const Labels>& labels, const std::shared_ptr<const Labels>& others) {
  if (labels == others || !labels) return;
  if (!others) {
    labels = nullptr;
    return;
  }
  const auto has = [](const Labels& all, const auto& label) {
    const auto found = all.find(label.first);
    return found != all.end() && found->second == label.second;
  };
  if (std::ranges::all_of(*labels, [&](const auto& label) { return has(*others, label); })) return;
  Labels common;
  for (const auto& label : *labels) {
    if (has(*others, label)) common.insert(label);
  }
  labels = common.empty() ? nullptr : std::make_shared<const Labels>(std::move(common));
}

Counts counts_of(const Event& event) {
  if (event.allowed()) return {1, 0, 0};
  return {0, 1, event.size};
}

}  // namespace

Counts& Counts::operator+=(const Counts& more) {
  flows += more.flows;
  refused += more.refused;
  refused_bytes += more.refused_bytes;
  return *this;
}

std::size_t hash_value(const Aggregator::Window::Key& key) {
  const auto word = [](const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) >> 4; };
  std::size_t seed = word(key.source) * 0x9e3779b97f4a7c15U + word(key.destination);
  seed = (seed ^ word(key.egress)) * 0x9e3779b97f4a7c15U + word(key.ingress);
  seed = (seed ^ (std::size_t{key.service} << 32 | key.what)) * 0x9e3779b97f4a7c15U;
  return seed ^ seed >> 32;
}

void Aggregator::add(const Sighting& sighting) {
  const auto& event = sighting.event;
  const auto reporter = sighting.decider();
  const Window::Key key{sighting.source.group.get(),
                        sighting.destination.group.get(),
                        sighting.outcomes[0]->get(),
                        sighting.outcomes[1]->get(),
                        std::uint32_t{event.destination_port} << 8 | event.protocol,
                        static_cast<std::uint32_t>(reporter) << 8 | static_cast<std::uint32_t>(event.reason)};
  auto found = now_.index.find(key);
  if (found == now_.index.end()) {
    if (now_.aggregates.size() >= most_) {
      now_.others += counts_of(event);
      return;
    }
    found = now_.index.emplace(key, static_cast<std::uint32_t>(now_.aggregates.size())).first;
    now_.aggregates.push_back({sighting.source.group,
                               sighting.destination.group,
                               sighting.source.labels,
                               sighting.destination.labels,
                               {*sighting.outcomes[0], *sighting.outcomes[1]},
                               event.destination_port,
                               event.protocol,
                               reporter,
                               event.reason,
                               event.time,
                               event.time,
                               {}});
  }
  auto& aggregate = now_.aggregates[found->second];
  intersect(aggregate.source_labels, sighting.source.labels);
  intersect(aggregate.destination_labels, sighting.destination.labels);
  aggregate.first = std::min(aggregate.first, event.time);
  aggregate.last = std::max(aggregate.last, event.time);
  aggregate.counts += counts_of(event);
}

void Aggregator::turn(Moment now) {
  last_ = std::exchange(now_, {now, {}, {}, {}});
  last_.index = {};
}

}  // namespace ocicat::flows
