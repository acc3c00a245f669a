#include "sim/inline_store.h"

#include <utility>

namespace ocicat::test {

Result<std::unique_ptr<InlineStore>> InlineStore::open(const std::string& path, store::HistoryLimits limits) {
  TRY(auto keep, store::SqliteKeep::open({.path = path, .history = limits, .max_pages = {}}));
  return std::unique_ptr<InlineStore>(new InlineStore(std::move(keep)));
}

Result<store::Entry> InlineStore::get(const ResourceKey& key) const {
  auto entry = keep_->replica().get(key);
  if (!entry) return fail(ErrorCode::kNotFound, "{} not found", key.to_string());
  return *std::move(entry);
}

store::Listing InlineStore::list(Kind kind, const std::optional<std::string>& ns) const {
  return keep_->replica().list(kind, ns);
}

// Processes die here, machines do not: no write waits for the disk.
void InlineStore::submit(store::Edit edit, store::Durability, store::Done done) {
  const auto death = std::exchange(death_, Death::kNone);
  if (death == Death::kBefore) return;
  std::vector<store::SqliteKeep::Job> batch;
  batch.push_back({std::move(edit), store::Durability::kProcess, {}});
  keep_->write(batch);
  if (death == Death::kNone) done(std::move(batch.front().outcome));
}

Result<std::optional<store::Change>> InlineStore::rehearse(const store::Edit& edit) const {
  return keep_->replica().rehearse(edit);
}

Result<std::unique_ptr<store::Watch>> InlineStore::watch(Kind kind, const std::optional<std::string>& ns,
                                                         store::Revision after) {
  return keep_->replica().watch(kind, ns, after);
}

}  // namespace ocicat::test
