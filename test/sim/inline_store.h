// The server's store without its thread: what is submitted is done before submit() returns, unless the
// server dies over it.
#pragma once

#include <memory>
#include <string>

#include "store/sqlite/sqlite_keep.h"

namespace ocicat::test {

class InlineStore final : public store::Store {
 public:
  // When the server dies, as seen from a write: the writer never hears what became of it.
  enum class Death : std::uint8_t { kNone, kBefore, kAfter };

  static Result<std::unique_ptr<InlineStore>> open(const std::string& path, store::HistoryLimits limits);

  Result<store::Entry> get(const ResourceKey& key) const override;
  store::Listing list(Kind kind, const std::optional<std::string>& ns) const override;
  void submit(store::Edit edit, store::Durability durability, store::Done done) override;
  Result<std::optional<store::Change>> rehearse(const store::Edit& edit) const override;
  Result<std::unique_ptr<store::Watch>> watch(Kind kind, const std::optional<std::string>& ns,
                                              store::Revision after) override;
  Result<void> check_past(const std::string& incarnation, store::Revision revision) const override {
    return keep_->check_past(incarnation, revision);
  }
  store::StoreStatus status() const override { return keep_->status(); }

  // At the next write.
  void die(Death death) { death_ = death; }

 private:
  explicit InlineStore(std::unique_ptr<store::SqliteKeep> keep) : keep_(std::move(keep)) {}

  std::unique_ptr<store::SqliteKeep> keep_;
  Death death_ = Death::kNone;
};

}  // namespace ocicat::test
