#include "store/sqlite/sqlite_store.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "store/sqlite/sqlite_keep.h"

namespace ocicat::store {
namespace {

constexpr std::size_t kMaxBatch = 512;  // edits in one transaction

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(std::unique_ptr<SqliteKeep> keep) : keep_(std::move(keep)) {
    writer_ = std::thread([this] { write_until_closed(); });
  }

  ~SqliteStore() override {
    {
      const std::scoped_lock lock(mutex_);
      closing_ = true;
    }
    arrived_.notify_all();
    writer_.join();
  }

  Result<Entry> get(const ResourceKey& key) const override {
    auto entry = keep_->replica().get(key);
    if (!entry) return fail(ErrorCode::kNotFound, "{} not found", key.to_string());
    return *std::move(entry);
  }

  Listing list(Kind kind, const std::optional<std::string>& ns) const override {
    return keep_->replica().list(kind, ns);
  }

  void submit(Edit edit, Durability durability, Done done) override {
    {
      const std::scoped_lock lock(mutex_);
      queue_.push_back({std::move(edit), durability, std::move(done)});
    }
    arrived_.notify_one();
  }

  Result<std::optional<Change>> rehearse(const Edit& edit) const override {
    return keep_->replica().rehearse(edit);
  }

  Result<std::unique_ptr<Watch>> watch(Kind kind, const std::optional<std::string>& ns,
                                       Revision after) override {
    return keep_->replica().watch(kind, ns, after);
  }

  Result<void> check_past(const std::string& incarnation, Revision revision) const override {
    return keep_->check_past(incarnation, revision);
  }
  StoreStatus status() const override { return keep_->status(); }

 private:
  using Job = SqliteKeep::Job;

  void write_until_closed() {
    while (true) {
      std::vector<Job> batch;
      {
        std::unique_lock lock(mutex_);
        arrived_.wait(lock, [this] { return closing_ || !queue_.empty(); });
        if (queue_.empty()) return;  // closing, and all is written
        while (!queue_.empty() && batch.size() < kMaxBatch) {
          batch.push_back(std::move(queue_.front()));
          queue_.pop_front();
        }
      }
      keep_->write(batch);
      for (auto& job : batch) job.done(std::move(job.outcome));
    }
  }

  const std::unique_ptr<SqliteKeep> keep_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Job> queue_;
  bool closing_ = false;
  std::thread writer_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const SqliteOptions& options) {
  TRY(auto keep, SqliteKeep::open(options));
  return std::make_unique<SqliteStore>(std::move(keep));
}

}  // namespace ocicat::store
