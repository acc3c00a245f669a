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
  Counts counts;
  if (event.carried) {
    const auto& carried = *event.carried;
    counts.completed = carried.goes_on ? 0 : 1;
    counts.live = carried.goes_on ? 1 : 0;
    counts.packets_in = carried.packets_in;
    counts.packets_out = carried.packets_out;
    counts.bytes_in = carried.bytes_in;
    counts.bytes_out = carried.bytes_out;
  } else if (event.allowed()) {
    counts.flows = 1;
  } else {
    counts.refused = 1;
    counts.refused_bytes = event.size;
  }
  return counts;
}

}  // namespace

Counts& Counts::operator+=(const Counts& more) {
  flows += more.flows;
  completed += more.completed;
  live += more.live;
  packets_in += more.packets_in;
  packets_out += more.packets_out;
  bytes_in += more.bytes_in;
  bytes_out += more.bytes_out;
  refused += more.refused;
  refused_bytes += more.refused_bytes;
  return *this;
}

std::size_t hash_value(const Aggregator::Window::Key& key) {
  const auto word = [](const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) >> 4; };
  std::size_t seed = word(key.source) * 0x9e3779b97f4a7c15U + word(key.destination);
  seed = (seed ^ word(key.outcome)) * 0x9e3779b97f4a7c15U;
  seed = (seed ^ (std::size_t{key.service} << 32 | key.what)) * 0x9e3779b97f4a7c15U;
  return seed ^ seed >> 32;
}

void Aggregator::add(const Sighting& sighting) {
  const auto& event = sighting.event;
  const auto reporter = sighting.decider();
  const auto& outcome = *sighting.outcomes[static_cast<std::size_t>(reporter)];
  const Window::Key key{sighting.source.group.get(), sighting.destination.group.get(), outcome.get(),
                        std::uint32_t{event.destination_port} << 8 | event.protocol,
                        static_cast<std::uint32_t>(reporter) << 8 | static_cast<std::uint32_t>(event.reason)};
  auto found = now_.index.find(key);
  if (found == now_.index.end()) {
    if (event.carried && event.carried->is_idle()) return;
    if (now_.aggregates.size() >= most_) {
      now_.others += counts_of(event);
      return;
    }
    found = now_.index.emplace(key, static_cast<std::uint32_t>(now_.aggregates.size())).first;
    now_.aggregates.push_back({sighting.source.group,
                               sighting.destination.group,
                               sighting.source.labels,
                               sighting.destination.labels,
                               outcome,
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

void Aggregator::look_again() {
  for (auto& aggregate : now_.aggregates) aggregate.counts.live = 0;
  now_.others.live = 0;
}

void Aggregator::turn(Moment now) {
  last_ = std::exchange(now_, {now, {}, {}, {}});
  last_.index = {};
}

}  // namespace ocicat::flows
