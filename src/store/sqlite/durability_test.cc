// What is left after the worst: a killed process, a full disk, a disk that may not be written.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <thread>

#include "base/unique_fd.h"
#include "store/sqlite/test_store.h"

namespace ocicat::store {
namespace {

constexpr int kWriters = 4;

// Writes until killed; tells each acknowledged write through the pipe.
[[noreturn]] void write_for_ever(const std::string& path, int acknowledgements, int round) {
  auto store = open_sqlite_store({path, {}, {}});
  if (!store) ::_exit(1);
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      for (int i = 0;; ++i) {
        const auto name = fmt::format("{}-{}-{}", round, writer, i);
        // Every other one is made cheaply: a killed process must not lose these either.
        const auto durability = i % 2 == 0 ? Durability::kDisk : Durability::kProcess;
        if (!(*store)->commit(create_edit(tier_key(name), "document of " + name), durability)) ::_exit(2);
        const auto line = name + "\n";
        if (::write(acknowledgements, line.data(), line.size()) < 0) ::_exit(3);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  ::_exit(4);
}

TEST(Durability, EveryAcknowledgedWriteIsThereAfterKill) {
  const TestFolder folder;
  std::vector<std::string> acknowledged;
  for (int round = 0; round < 5; ++round) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) write_for_ever(folder.file(), write_end.get(), round);
    write_end.reset();

    std::string text;
    std::array<char, 4096> piece{};
    const auto enough = static_cast<std::size_t>(50 + round * 137);
    bool killed = false;
    for (ssize_t got = 0; (got = ::read(read_end.get(), piece.data(), piece.size())) > 0;) {
      text.append(piece.data(), static_cast<std::size_t>(got));
      if (!killed && static_cast<std::size_t>(std::ranges::count(text, '\n')) >= enough) {
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        killed = true;
      }
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer ended by itself: " << WEXITSTATUS(status);
    for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      acknowledged.push_back(text.substr(at, end - at));

    auto store = open_store(folder.file());
    for (const auto& name : acknowledged) {
      const auto entry = store->get(tier_key(name));
      ASSERT_TRUE(entry) << name << " was acknowledged in round " << name[0] << " and is gone after round "
                         << round;
      EXPECT_EQ(*entry->document, "document of " + name);
    }
    // What was not acknowledged is there as a whole or not at all, and history tells of it.
    auto watch = store->watch(Kind::kTier, {}, 0);
    ASSERT_TRUE(watch);
    std::size_t created = 0;
    for (auto batch = (*watch)->next(100); batch && !batch->events.empty(); batch = (*watch)->next(100))
      created += batch->events.size();
    EXPECT_EQ(created, store->list(Kind::kTier, {}).entries.size());
  }
}

// A small file system of its own, mounted for the life of the object.
class SmallDisk {
 public:
  explicit SmallDisk(const std::filesystem::path& at) : at_(at) {
    std::filesystem::create_directories(at_);
    mounted_ = ::mount("ocicat-test", at_.c_str(), "tmpfs", 0, "size=512k") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  bool remount(unsigned long flags, const char* options) const {
    return ::mount(nullptr, at_.c_str(), nullptr, MS_REMOUNT | flags, options) == 0;
  }

 private:
  std::filesystem::path at_;
  bool mounted_ = false;
};

TEST(Durability, AFullFileSystemIsAClearErrorAndPassesWhenThereIsRoom) {
  const TestFolder folder;
  const SmallDisk disk(folder.path() / "disk");
  ASSERT_TRUE(disk.mounted()) << "this test mounts a small disk: run it as root";
  const auto path = (folder.path() / "disk" / "store.db").string();
  auto store = open_store(path);
  int written = 0;
  Result<Committed> result;
  for (; written < 1'000; ++written) {
    result = store->commit(create_edit(tier_key(fmt::format("t{}", written)), std::string(10'000, 'x')));
    if (!result) break;
  }
  ASSERT_FALSE(result) << "512 KiB hold no 10 MB";
  EXPECT_EQ(result.error().code, ErrorCode::kExhausted) << result.error().message;
  EXPECT_EQ(store->list(Kind::kTier, {}).entries.size(), static_cast<std::size_t>(written));

  ASSERT_TRUE(disk.remount(0, "size=4m"));
  const auto again = store->commit(create_edit(tier_key("again"), std::string(10'000, 'x')));
  EXPECT_TRUE(again) << again.error().message;
  store.reset();
  store = open_store(path);
  EXPECT_EQ(store->list(Kind::kTier, {}).entries.size(), static_cast<std::size_t>(written) + 1);
}

TEST(Durability, AReadOnlyFileSystemIsAClearError) {
  const TestFolder folder;
  const SmallDisk disk(folder.path() / "disk");
  ASSERT_TRUE(disk.mounted()) << "this test mounts a small disk: run it as root";
  const auto path = (folder.path() / "disk" / "store.db").string();
  {
    auto store = open_store(path);
  }
  ASSERT_TRUE(disk.remount(MS_RDONLY, "size=512k"));
  const auto store = open_sqlite_store({path, {}, {}});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kPermission) << store.error().message;
}

}  // namespace
}  // namespace ocicat::store
