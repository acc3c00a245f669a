#include "bench/served.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/command.h"
#include "bench/documents.h"
#include "dataplane/ebpf/objects.h"
#include "http/client.h"
#include "store/sqlite/sqlite_store.h"

namespace ocicat::bench {
namespace {

constexpr std::chrono::minutes kPatience{2};

std::string binary() {
  const char* set = std::getenv("OCICAT_BIN");
  if (set == nullptr) std::fprintf(stderr, "OCICAT_BIN does not say where ocicat is\n");
  CHECK(set != nullptr);
  return set;
}

template <class T>
T taken(Result<T> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  CHECK(result);
  return std::move(*result);
}

}  // namespace

ScratchFolder::ScratchFolder() {
  static std::atomic<int> next = 0;
  path_ = std::filesystem::temp_directory_path() / fmt::format("ocicat-bench-{}-{}", ::getpid(), ++next);
  std::filesystem::create_directories(path_);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Served::Served() : store_(taken(store::open_sqlite_store({":memory:", {}, {}}))) {
  router_ = std::make_unique<api::Router>(*store_);
  CHECK(router_->ensure_built_ins());
  http::ServerOptions options;
  options.endpoints = {http::Endpoint::unix_socket(socket())};
  http_ = taken(http::Server::start(options, [this](const http::Request& request, http::Respond respond) {
    router_->handle(request, respond);
  }));
}

void Served::add(const test::Item& item) {
  store_->submit(store::create_edit(item.key, document_of(item)), store::Durability::kProcess,
                 [](Result<store::Committed> done) { CHECK(done); });
}

void Served::await_added() {
  const auto nothing = [](const store::View&) -> Result<std::optional<store::Change>> {
    return std::nullopt;
  };
  CHECK(store_->commit(nothing, store::Durability::kProcess));
}

Clock::time_point Served::change(const test::Item& item) {
  Clock::time_point taken_up{};
  const auto edit = store::update_edit(item.key, document_of(item));
  CHECK(store_->commit(
      [&](const store::View& view) {
        taken_up = Clock::now();
        return edit(view);
      },
      store::Durability::kProcess));
  return taken_up;
}

AgentProcess::AgentProcess(const Served& served, const kernel::NetworkNamespace& host, std::string dataplane)
    : served_(served), host_(host), dataplane_(std::move(dataplane)) {
  static std::atomic<int> next = 0;
  pin_folder_ = fmt::format("/sys/fs/bpf/ocicat-bench/{}-agent-{}", ::getpid(), ++next);
}

AgentProcess::~AgentProcess() {
  kill();
  CHECK(dataplane::ebpf::remove_objects(pin_folder_));
}

std::vector<std::string> AgentProcess::command() const {
  const auto folder = folder_.path().string();
  return {binary(),       "agent",
          "--node",       test::kShapeNode,
          "--server",     served_.address(),
          "--run-dir",    folder + "/run",
          "--health",     "unix://" + folder + "/health.sock",
          "--dataplane",  dataplane_,
          "--bpf-folder", pin_folder_,
          "--cni-dir",    "none"};
}

void AgentProcess::start() {
  CHECK(pid_ == 0);
  const auto words = command();
  const auto log = folder_.path() / "agent.log";
  host_.run([&] {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const int output : {STDOUT_FILENO, STDERR_FILENO})
      posix_spawn_file_actions_addopen(&actions, output, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    CHECK(::posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, argv_of(words).data(), environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
  });
}

void AgentProcess::await_ready() const {
  const auto give_up = Clock::now() + kPatience;
  while (Clock::now() < give_up) {
    http::BlockingClient client(http::Endpoint::unix_socket(folder_.path() / "health.sock"));
    const auto answer = client.send({.method = "GET", .target = "/readiness", .headers = {}, .body = {}});
    if (answer && answer->status == 200) return;
    ::usleep(2'000);
  }
  std::ifstream log(folder_.path() / "agent.log");
  const std::string text{std::istreambuf_iterator(log), {}};
  std::fprintf(stderr, "the agent does not get ready:\n%s\n", text.c_str());
  CHECK(false);
}

void AgentProcess::kill() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

AgentProcess::ProcessorSeconds AgentProcess::processor() const {
  std::ifstream stat(fmt::format("/proc/{}/stat", pid_));
  std::string word;
  ProcessorSeconds used;
  for (int field = 1; field <= 13; ++field) stat >> word;  // the name has no blanks
  CHECK(stat >> used.user >> used.kernel);
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  return {used.user / ticks, used.kernel / ticks};
}

std::map<std::string, double> AgentProcess::scheduled_seconds() const {
  std::map<std::string, double> seconds;
  for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid_))) {
    std::string name;
    double nanoseconds = 0;
    if (std::ifstream(thread.path() / "comm") >> name &&
        std::ifstream(thread.path() / "schedstat") >> nanoseconds)
      seconds[name] += nanoseconds / 1e9;
  }
  return seconds;
}

double AgentProcess::megabytes(const std::string& line) const {
  std::ifstream status(fmt::format("/proc/{}/status", pid_));
  std::string word;
  while (status >> word) {
    double kilobytes = 0;
    if (word == line + ":" && status >> kilobytes) return kilobytes / 1024;
  }
  CHECK(false);
}

}  // namespace ocicat::bench
