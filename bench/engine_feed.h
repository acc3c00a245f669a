// An engine that is fed a shape, and what that cost.
#pragma once

#include <cstdio>
#include <string>

#include "base/result.h"
#include "bench/figures.h"
#include "engine/engine.h"
#include "test/support/shapes/shape.h"

namespace ocicat::bench {

// Hands resources to an engine in batches that are gone once they are handed in. Their making is not counted.
class Feed {
 public:
  static constexpr std::size_t kBatch = 50;

  explicit Feed(Engine::Options options = {.node = test::kShapeNode, .dictionary = {}})
      : engine_(std::move(options)) {}

  void add(test::Item item) {
    batch_.update(std::move(item.key), std::move(item.resource));
    if (batch_.size() == kBatch) flush();
  }
  void flush() {
    const auto changes = timed(seconds_, [&] { return engine_.update(batch_); });
    entries_ += changes.tables.classes.size();
    batch_.clear();
  }
  template <class Shape>
  void load(const Shape& shape) {
    shape.each([this](test::Item item) { add(std::move(item)); });
    flush();
  }
  HostChanges update(test::Item item) {
    ResourceChanges changes;
    changes.update(std::move(item.key), std::move(item.resource));
    return engine_.update(changes);
  }
  HostChanges remove(const ResourceKey& key) {
    ResourceChanges changes;
    changes.remove(key);
    return engine_.update(changes);
  }

  Engine& engine() { return engine_; }
  double seconds() const { return seconds_; }

  // For people, on stderr.
  void describe() const {
    const auto has = engine_.counters();
    std::fprintf(
        stderr,
        "%zu endpoints (%zu local), %zu of %zu policies active, %zu sets, %zu classes, %zu programs, "
        "%zu tables, %zu outcomes; %zu class entries; %.4f s; resident %.1f MB\n",
        has.endpoints, has.local_endpoints, has.active_policies, has.policies, has.sets, has.classes,
        has.programs, has.tables, has.outcomes, entries_, seconds_, resident_mb());
  }

 private:
  Engine engine_;
  ResourceChanges batch_;
  double seconds_ = 0;
  std::size_t entries_ = 0;
};

// Brings code and libraries into memory, so that what is counted afterwards is the engine's own.
void warm_up();

}  // namespace ocicat::bench
