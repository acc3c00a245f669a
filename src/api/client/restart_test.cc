// The server as a process of its own, killed under those who follow it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "api/client/informer.h"
#include "api/client/test_server.h"
#include "base/unique_fd.h"

namespace ocicat::api {
namespace {

using namespace std::chrono_literals;

// A process that begins to serve when told. Forked early, before this process has threads.
class Process {
 public:
  explicit Process(const ServerOptions& options) {
    std::array<int, 2> go{}, ready{};
    EXPECT_EQ(::pipe2(go.data(), O_CLOEXEC) | ::pipe2(ready.data(), O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(go[1]);
      char byte = 0;
      if (::read(go[0], &byte, 1) != 1) ::_exit(0);  // the test is over
      const auto server = Server::start(options);
      if (!server || ::write(ready[1], "!", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(go[0]);
    ::close(ready[1]);
    go_ = UniqueFd(go[1]);
    ready_ = UniqueFd(ready[0]);
  }
  ~Process() {
    go_.reset();
    kill();
  }
  Process(Process&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), go_(std::move(other.go_)), ready_(std::move(other.ready_)) {}
  Process& operator=(Process&&) = delete;

  bool serve() {
    char byte = 0;
    return ::write(go_.get(), "!", 1) == 1 && ::read(ready_.get(), &byte, 1) == 1;
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd go_;
  UniqueFd ready_;
};

TEST(Restart, InformersLoseNothingWhenTheServerIsKilledAgainAndAgain) {
  constexpr int kRounds = 4;
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("ocicat-restart-{}", ::getpid());
  std::filesystem::create_directories(folder);
  ServerOptions options;
  options.socket_path = folder / "server.sock";
  options.database_path = folder / "ocicat.db";
  std::vector<Process> servers;
  for (int i = 0; i < kRounds; ++i) servers.emplace_back(options);

  std::mutex mutex;
  std::condition_variable changed;
  std::map<ResourceKey, Resource> seen;
  int removals = 0;
  const Address address{"unix://" + options.socket_path};
  Informers informers(address, {Kind::kGlobalNetworkSet, Kind::kTier}, [&](Update update) {
    const std::scoped_lock lock(mutex);
    update.resources.apply_to(seen);
    for (const auto& [key, value] : update.resources.entries()) removals += value ? 0 : 1;
    changed.notify_all();
  });
  std::size_t acknowledged = 0;
  for (int round = 0; round < kRounds; ++round) {
    auto& server = servers[static_cast<std::size_t>(round)];
    ASSERT_TRUE(server.serve());
    Client client(address);
    for (int i = 0; i < 20; ++i) {
      const auto created = client.create(network_set(fmt::format("s{}-{}", round, i), "10.0.0.0/8"));
      ASSERT_TRUE(created) << created.error().message;
      ++acknowledged;
    }
    if (round % 2 == 0) server.kill();  // at once: the informers get the rest from the next one
    if (round % 2 == 1) {
      std::unique_lock lock(mutex);
      EXPECT_TRUE(changed.wait_for(lock, 60s, [&] { return seen.size() == acknowledged + 3; }))
          << seen.size();
    }
    server.kill();
  }
  // The end of a connection is news to the informers' thread.
  const auto give_up = std::chrono::steady_clock::now() + 60s;
  while (informers.status().connected && std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  const std::scoped_lock lock(mutex);
  EXPECT_EQ(removals, 0);
  EXPECT_FALSE(informers.status().connected);
  EXPECT_FALSE(informers.status().last_error.empty());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ocicat::api
