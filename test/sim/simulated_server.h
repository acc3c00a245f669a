// `ocicat server` without sockets, threads and time of its own: the real router over the real store, in a
// file that outlives it.
#pragma once

#include <boost/json/object.hpp>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "api/server/router.h"
#include "policy/evaluator.h"
#include "sim/inline_store.h"

namespace ocicat::test {

using Time = std::chrono::steady_clock::time_point;

class SimulatedServer {
 public:
  // History so short that a watch that waits is soon overtaken. Borrows the clock.
  SimulatedServer(const Time& now, store::HistoryLimits limits);
  ~SimulatedServer();
  SimulatedServer(const SimulatedServer&) = delete;
  SimulatedServer& operator=(const SimulatedServer&) = delete;

  // Begins anew from the file, as after kill -9, and makes a backup of it before. Streams it has answered
  // with must be gone.
  void restart();
  // Begins anew from the last backup.
  void restore();
  void die_at_next_write(InlineStore::Death death) { store_->die(death); }

  // Nothing where the server died over it.
  std::optional<http::Response> answer(const http::Request& request);
  // Creates or replaces, as `ocicat apply` does; removes without a document. The status, nothing where the
  // server died over it.
  std::optional<int> write(const ResourceKey& key, const std::optional<boost::json::object>& document);

  // What is stored now: the text, or nothing.
  std::optional<std::string> stored(const ResourceKey& key) const;
  // All that agents compute from, decoded.
  policy::Snapshot snapshot() const;

 private:
  std::string file(const char* name) const { return folder_ / name; }
  void open();
  void close();

  const Time& now_;
  const store::HistoryLimits limits_;
  std::filesystem::path folder_;
  std::unique_ptr<InlineStore> store_;
  std::optional<api::Router> router_;
};

}  // namespace ocicat::test
