// For tests: a store in a folder of its own, and short words for common steps.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "store/sqlite/sqlite_store.h"

namespace ocicat::store {

class TestFolder {
 public:
  TestFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() / fmt::format("ocicat-store-{}-{}", ::getpid(), ++count);
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  std::string file() const { return path_ / "store.db"; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::unique_ptr<Store> open_store(std::string path, HistoryLimits history = {},
                                         std::optional<std::size_t> max_pages = {}) {
  auto store = open_sqlite_store({std::move(path), history, max_pages});
  if (!store) {
    ADD_FAILURE() << store.error().message;
    std::abort();
  }
  return *std::move(store);
}

inline ResourceKey tier_key(std::string name) {
  return {Kind::kTier, "", std::move(name)};
}

}  // namespace ocicat::store
