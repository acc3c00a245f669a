#include "dataplane/bird/bird.h"

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "base/command.h"
#include "base/unique_fd.h"
#include "kernel/route_copies.h"
#include "kernel/routes.h"
#include "network/bgp/bird_configuration.h"

namespace ocicat::dataplane {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kStartPatience{5};
constexpr std::chrono::seconds kReconfigurePatience{1};
constexpr std::chrono::milliseconds kPause{10};  // between looks at one that starts, or is busy
// A neighbour whose session is up, and of which there is no news for so long, has said what it has to say.
constexpr std::chrono::seconds kSpoken{3};
// After so long neighbours, too, give up what they keep for one that died (BIRD's own restart time, RFC 4724).
constexpr std::chrono::seconds kLongestCopies{120};

Result<std::string> find_program(const std::string& wanted) {
  if (!wanted.empty() && wanted.find('/') != std::string::npos) {
    if (::access(wanted.c_str(), X_OK) == 0) return wanted;
    return fail(ErrorCode::kNotFound, "{} cannot be run; say where BIRD 2 is", wanted);
  }
  const char* given = std::getenv("PATH");
  std::string path = fmt::format("{}:/usr/sbin:/usr/local/sbin", given == nullptr ? "" : given);
  const std::string name = wanted.empty() ? "bird" : wanted;
  for (std::size_t at = 0; at <= path.size();) {
    const auto end = std::min(path.find(':', at), path.size());
    const auto candidate = path.substr(at, end - at) + "/" + name;
    if (end > at && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return fail(ErrorCode::kNotFound, "there is no program {}: install BIRD 2 (Debian: apt-get install bird2)",
              name);
}

Result<void> write_file(const std::filesystem::path& path, std::string_view text) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) return fail_errno(fmt::format("open {}", path.string()), errno);
  while (!text.empty()) {
    const auto written = ::write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(fmt::format("write {}", path.string()), errno);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::string> read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) return fail(ErrorCode::kInternal, "cannot read {}", path.string());
  return text;
}

// Whether a BIRD before has left routes in this network namespace.
bool routes_are_left() {
  auto routes = kernel::NetlinkRoutes::open();
  if (!routes) return false;
  const auto left = (*routes)->routes(RTPROT_BIRD);
  return left && !left->empty();
}

Result<kernel::RouteCopies> open_copies() {
  return kernel::RouteCopies::open(network::bgp::kCopyProtocol, network::bgp::kCopyMetric);
}

// Protocol `bird` of the main table is ours alone: what somebody else has written there with it does not stay.
void tell_of_others_routes() {
  auto routes = kernel::NetlinkRoutes::open();
  if (!routes) return;
  const auto found = (*routes)->routes(RTPROT_BIRD);
  if (!found || found->empty()) return;
  spdlog::warn(
      "BGP: {} routes of protocol bird are there that no BIRD of this agent has left, such as to {}: "
      "those that neighbours do not tell go; give yours another protocol (ip route show proto bird)",
      found->size(), found->front().destination.to_string());
}

// So that packets go where a dead BIRD's routes led until its successor knows better: the same routes, worse than
// any of BIRD's, and not taken by it for its own.
Result<void> copy_routes() {
  TRY(auto copies, open_copies());
  return copies.make(RTPROT_BIRD);
}

// Whether one of the nets is this one or around it. The default route is around everything and does not count.
bool covered(const Prefix& net, const std::set<Prefix>& nets) {
  for (int length = net.length; length > 0; --length) {
    if (nets.contains(Prefix{net.address, static_cast<std::uint8_t>(length)}.masked())) return true;
  }
  return false;
}

// Of routes those whose destination others have too, and those that lead nowhere.
std::vector<kernel::KernelRoute> doubtful(std::vector<kernel::KernelRoute> routes) {
  std::ranges::sort(routes);
  std::vector<kernel::KernelRoute> some;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    const auto same = [&](std::size_t other) {
      return other < routes.size() && routes[other].destination == routes[i].destination;
    };
    if (routes[i].unreachable || same(i + 1) || (i > 0 && same(i - 1))) some.push_back(routes[i]);
  }
  return some;
}

// In a session of its own, and a child of nobody who would have to wait for it.
[[noreturn]] void become(std::vector<char*>& command) {
  ::setsid();
  const pid_t pid = ::fork();
  if (pid != 0) ::_exit(pid < 0 ? 1 : 0);
  // What the agent waits for with sigwait would never reach BIRD.
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) ::dup2(null, fd);
  // Asio's sockets would stay open over exec, and who waits for the agent to close one would wait for BIRD's end.
  ::closefrom(3);
  ::execv(command[0], command.data());
  ::_exit(1);
}

Result<void> launch(const std::vector<std::string>& command) {
  auto words = argv_of(command);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork", errno);
  if (child == 0) become(words);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) return fail(ErrorCode::kInternal, "cannot start {}", command[0]);
  return {};
}

}  // namespace

Result<Bird> Bird::find(Options options) {
  TRY(options.program, find_program(options.program));
  const auto folder = options.folder.string();
  if (folder.find_first_of("\"\n") != std::string::npos)
    return fail(ErrorCode::kInvalid,
                "the folder {} must not have quotes in its name, which BIRD cannot write", folder);
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) return fail_errno(fmt::format("cannot make {}", folder), error.value());
  if (::chmod(folder.c_str(), 0700) != 0) return fail_errno(folder, errno);
  return Bird(std::move(options));
}

Result<void> Bird::apply(const std::string& configuration) {
  TRY_VOID(replace_configuration(configuration));
  if (auto there = greet(); !there) {
    if (there.error().code != ErrorCode::kNotFound) return std::unexpected(std::move(there).error());
    return start();
  }
  ran_ = true;
  due_.merge(read_ ? reloads_between(*read_, configuration) : reloads_of(configuration));
  read_.reset();
  const auto answer = ask(fmt::format("configure soft \"{}\"", configuration_file().string()));
  if (!answer) return within("BIRD has not taken its configuration", answer.error());
  read_ = configuration;
  return pass_again();
}

Result<void> Bird::replace_configuration(const std::string& configuration) {
  const auto next = options_.folder / "bird.conf.next";
  TRY_VOID(write_file(next, configuration));
  if (const auto checked = run({options_.program, "-p", "-c", next.string()}); !checked)
    return within("BIRD refuses what it is to do; the last configuration stays", checked.error());
  // The configuration outlives the agent that wrote it.
  std::error_code unknown;
  if (!configured_ && std::filesystem::exists(configuration_file(), unknown)) {
    ran_ = true;
    if (std::filesystem::exists(in_force(), unknown)) {
      TRY(read_, read_file(configuration_file()));
    }
  }
  if (::unlink(in_force().c_str()) != 0 && errno != ENOENT)
    return fail_errno(fmt::format("remove {}", in_force().string()), errno);
  if (::rename(next.c_str(), configuration_file().c_str()) != 0) return fail_errno("rename", errno);
  configured_ = true;
  return {};
}

// Before BIRD has done what it reads, a route would pass by the filters before; while it keeps what one before has
// left, it passes nothing on, and to ask it for that has no effect (2.0.12).
Result<void> Bird::pass_again() {
  const auto deadline = Clock::now() + kReconfigurePatience;
  while (true) {
    TRY(const auto status, ask("show status"));
    if (recovers(status)) return {};
    if (!reconfigures(status)) break;
    if (Clock::now() > deadline) return {};
    std::this_thread::sleep_for(kPause);
  }
  while (!due_.empty()) {
    TRY_VOID(reload(*due_.begin()));
    due_.erase(due_.begin());
  }
  return write_file(in_force(), "");
}

Result<void> Bird::reload(const Reload& reload) {
  const auto* way = reload.direction == Reload::Direction::kIn ? "in" : "out";
  TRY(const auto answer, ask(fmt::format("reload {} {}", way, reload.protocol)));
  if (answer.find("reload failed") == std::string::npos) return {};
  // A neighbour without route refresh (RFC 2918) says everything again only to a new session.
  spdlog::warn("BGP: {} cannot say its routes again; the session is begun anew", reload.protocol);
  TRY([[maybe_unused]] const auto restarted, ask(fmt::format("restart {}", reload.protocol)));
  return {};
}

Result<BirdStatus> Bird::look() {
  auto general = greet();
  if (!general && general.error().code == ErrorCode::kNotFound && configured_) {
    spdlog::warn("BIRD has gone; it is started again");
    TRY_VOID(start());
    general = greet();
  }
  if (!general) return std::unexpected(std::move(general).error());
  BirdStatus status;
  TRY(const auto protocols, ask("show protocols all"));
  status.pid = control_->pid();
  status.sessions = read_sessions(protocols);
  status.recovering = recovers(*general);
  if (!due_.empty()) TRY_VOID(pass_again());
  TRY_VOID(hear_of_routes());
  if (status != last_) same_since_ = Clock::now();
  last_ = status;
  if (configured_ && !status.recovering) {
    if (inherits_ || changed_) TRY_VOID(drop_what_is_left());
    inherits_ = changed_ = false;
    if (copied_) TRY_VOID(drop_copies());
  }
  return status;
}

Result<void> Bird::hear_of_routes() {
  if (!monitor_) {
    TRY(monitor_, kernel::RouteMonitor::open(0));
  }
  TRY(const auto events, monitor_->read(RTPROT_BIRD));
  changed_ |= events.own;
  return {};
}

// BIRD itself drops what one before has left and nobody tells it any more, but for routes by neighbours that no
// address of the link has in its net, as where hosts have single addresses: these it does not take for routes
// (2.0.12: "strange next-hop"), and they would stay for ever, in the way of those that it is told of. Where a
// route gets another metric, to the kernel another route, it leaves the one before there as long as there is one
// to the same destination; and when that is taken back the other may stay, though it leads nowhere.
Result<void> Bird::drop_what_is_left() {
  TRY(const auto kernel, kernel::NetlinkRoutes::open());
  TRY(auto left, kernel->routes(RTPROT_BIRD));  // before BIRD is asked, which may hear of more
  if (!inherits_) left = doubtful(std::move(left));
  std::erase_if(left, [](const auto& route) { return !route.gateway && !route.unreachable; });
  if (left.empty()) return {};
  TRY(const auto ways, ask_ways());
  std::erase_if(left, [&](const auto& route) {
    return ways.contains({route.destination, route.gateway, route.metric});
  });
  if (left.empty()) return {};
  TRY(const auto failures, kernel->remove(RTPROT_BIRD, left));
  if (!failures.empty()) return std::unexpected(failures.front().error);
  spdlog::info("{} routes that BIRD has left, and nobody tells any more, are taken away", left.size());
  return {};
}

// BIRD's recovery ends when every neighbour has said that it has said everything; but it does not wait for one
// that never says so (without RFC 4724), or that has itself begun just now (FRR says this of itself for two
// minutes), and takes out of the kernel what these had told. What BIRD has by now needs no copy, nor what lies in
// a net that it has: where a workload has moved that is the way to it.
Result<void> Bird::drop_copies() {
  const auto now = Clock::now();
  const bool all_spoke =
      std::ranges::all_of(last_.sessions, &SessionState::established) && now - same_since_ >= kSpoken;
  const bool all = all_spoke || now - started_ >= kLongestCopies;
  std::set<Prefix> nets;
  if (!all) {
    TRY(const auto ways, ask_ways());
    for (const auto& way : ways) nets.insert(way.destination);
  }
  TRY(auto copies, open_copies());
  TRY(const auto left, copies.drop([&](const Prefix& net) { return all || covered(net, nets); }));
  copied_ = left > 0;
  return {};
}

Result<std::set<Way>> Bird::ask_ways() {
  std::set<Way> ways;
  for (const auto* protocol : {"kernel4", "kernel6"}) {
    TRY(const auto told, ask(fmt::format("show route export {} all", protocol)));
    ways.merge(read_ways(told));
  }
  return ways;
}

Result<std::string> Bird::ask(std::string_view command) {
  auto answer = control_->ask(command);
  // What comes later on this connection may be the rest of this answer.
  if (!answer && answer.error().code != ErrorCode::kInvalid) control_.reset();
  return answer;
}

// A connection that is open may be to one that has died since: then another is made.
Result<std::string> Bird::greet() {
  if (control_) {
    if (auto answer = ask("show status")) return answer;
  }
  TRY(control_, BirdControl::connect(socket()));
  return ask("show status");
}

// Routes to this host are at its neighbours, not here: by the kernel alone one that only tells would be new.
bool Bird::succeeds() const {
  return ran_ || routes_are_left();
}

Result<void> Bird::start() {
  std::vector<std::string> command{options_.program,
                                   "-f",
                                   "-c",
                                   configuration_file().string(),
                                   "-s",
                                   socket().string(),
                                   "-P",
                                   (options_.folder / "bird.pid").string()};
  read_.reset();  // also where it takes longer than we wait
  if (!ran_) tell_of_others_routes();
  const bool gracefully = succeeds();
  if (gracefully) {
    command.emplace_back("-R");
    if (const auto copied = copy_routes(); !copied)
      spdlog::warn("BGP: not every route stays until BIRD knows better: {}", copied.error().message);
    copied_ = true;
  }
  started_ = Clock::now();
  TRY_VOID(launch(command));
  ++starts_;
  inherits_ |= gracefully;
  const auto deadline = Clock::now() + kStartPatience;
  while (true) {
    auto there = greet();
    if (there) break;
    if (there.error().code != ErrorCode::kNotFound) return std::unexpected(std::move(there).error());
    if (Clock::now() > deadline)
      return fail(ErrorCode::kUnavailable, "BIRD does not start; see {}", log_file().string());
    std::this_thread::sleep_for(kPause);
  }
  ran_ = true;
  TRY(read_, read_file(configuration_file()));
  due_.clear();
  TRY_VOID(write_file(in_force(), ""));
  spdlog::info("BIRD runs as process {}{}", control_->pid(),
               gracefully ? ", and keeps the routes of the one before until its neighbours have spoken" : "");
  return {};
}

Result<bool> Bird::remove(const std::filesystem::path& folder) {
  auto control = BirdControl::connect(folder / "bird.ctl");
  if (!control && control.error().code != ErrorCode::kNotFound)
    return std::unexpected(std::move(control).error());
  if (!control && !std::filesystem::exists(folder / "bird.conf")) return false;
  if (control) {
    const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, control->pid(), 0)));
    TRY([[maybe_unused]] const auto answer, control->ask("down"));
    pollfd ended{process.get(), POLLIN, 0};
    if (process && ::poll(&ended, 1, 5000) == 0) return fail(ErrorCode::kUnavailable, "BIRD does not end");
  }
  // Those that lead nowhere too.
  for (const auto* family : {"-4", "-6"}) {
    for (const int protocol : {RTPROT_BIRD, network::bgp::kCopyProtocol}) {
      TRY([[maybe_unused]] const auto printed,
          run({"ip", family, "route", "flush", "proto", std::to_string(protocol)}));
    }
  }
  std::error_code ignored;
  std::filesystem::remove(folder / "bird.conf", ignored);
  std::filesystem::remove(folder / "bird.conf.in-force", ignored);
  return true;
}

}  // namespace ocicat::dataplane
