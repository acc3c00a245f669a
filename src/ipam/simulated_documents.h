// Documents in memory, that fail: the twin of the API for tests.
//
// Any call may fail without effect, or take effect and lose the answer. Writes of one call happen in any
// order, and a call may be the last thing that its caller does: then Crash is thrown, before the writes,
// among them or after them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <random>

#include "ipam/documents.h"

namespace ocicat::ipam {

// What all share. Safe for any number of threads.
class SharedDocuments {
 public:
  Result<boost::json::object> get(const ResourceKey& key) const;
  std::vector<boost::json::object> list(Kind kind) const;
  Result<boost::json::object> apply(const Write& write);
  std::size_t writes() const;

  // A write on its way that nobody waits for any more: it comes with one of the next ones, or with land().
  void delay(Write write);
  void land();

 private:
  Result<boost::json::object> apply_now(const Write& write);

  mutable std::mutex mutex_;
  std::map<ResourceKey, boost::json::object> documents_;
  std::uint64_t revision_ = 0;
  std::size_t writes_ = 0;
  std::vector<Write> delayed_;
  std::minstd_rand random_{1};
};

struct Crash {};

// One caller's way to them. Parts of a thousand.
struct Faults {
  unsigned refused = 0;   // kUnavailable, and nothing happened
  unsigned lost = 0;      // kUnavailable, and it happened
  unsigned conflict = 0;  // kConflict, and nothing happened
  unsigned crash = 0;
  unsigned late = 0;  // of what is lost or crashes: how many of a thousand writes come later
};

class SimulatedDocuments : public Documents {
 public:
  SimulatedDocuments(SharedDocuments& shared, std::uint64_t seed, Faults faults = {},
                     std::function<void()> between = {})
      : shared_(shared), random_(seed), faults_(faults), between_(std::move(between)) {}

  using Documents::get;
  Result<std::vector<boost::json::object>> list(Kind kind) override;
  std::vector<Result<boost::json::object>> get(const std::vector<ResourceKey>& keys) override;
  std::vector<Result<boost::json::object>> write(std::vector<Write> writes) override;

 private:
  bool strikes(unsigned thousandths) { return thousandths > 0 && random_() % 1000 < thousandths; }
  Result<boost::json::object> write_one(const Write& write);

  SharedDocuments& shared_;
  std::mt19937_64 random_;
  const Faults faults_;
  const std::function<void()> between_;  // called before each read and write: others may go on here
};

}  // namespace ocicat::ipam
