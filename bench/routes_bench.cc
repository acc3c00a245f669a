// Routes: what is computed for a large cluster, and what it costs to have them in a real kernel, in a network
// namespace of its own. Needs root, and `ip`.
//
// Prints lines `figure value unit`.
#include <fmt/format.h>

#include <linux/rtnetlink.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <vector>

#include "base/large_pages.h"
#include "dataplane/host_keeper.h"
#include "dataplane/routes/route_table.h"
#include "engine/engine.h"
#include "kernel/message.h"
#include "kernel/network_namespace.h"
#include "kernel/nft_kernel.h"
#include "netns/agent_host.h"
#include "test/support/shapes/block_cluster.h"

namespace ocicat {
namespace {

using Clock = std::chrono::steady_clock;
using dataplane::RouteTable;

constexpr int kProtocol = 80;
constexpr int kRounds = 5;
constexpr int kMoves = 2'000;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return double(time.tv_sec) + double(time.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}
double thread_cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}
double p99(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() * 99 / 100];
}
double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}
void must(const Result<void>& result) {
  if (result) return;
  fmt::print(stderr, "{}\n", result.error().message);
  std::exit(1);
}
template <class T>
T must(Result<T> result) {
  if (!result) must(Result<void>(std::unexpected(result.error())));
  return *std::move(result);
}
void shell(const std::string& command) {
  if (std::system(command.c_str()) != 0) must(fail(ErrorCode::kInternal, "{} failed", command));
}
void print(const std::string& figure, double value, const char* unit) {
  fmt::print("{} {:.3f} {}\n", figure, value, unit);
}

// --- computed

ResourceChanges large_cluster() {
  const test::BlockCluster cluster{.hosts = 5'001};
  ResourceChanges all;
  cluster.each([&](test::Item item) { all.update(std::move(item.key), std::move(item.resource)); });
  return all;
}

// One of its hosts gets an address and a tunnel end that none had before.
ResourceChanges move_of(int number) {
  auto moved = test::BlockCluster::host(1 + static_cast<unsigned>(number) * 7 % 5'000,
                                        1 + static_cast<unsigned>(number) % 3);
  std::get<Node>(moved.resource).vxlan[0].address =
      IpAddress::v4(0x64500000U + static_cast<unsigned>(number));
  ResourceChanges change;
  change.update(std::move(moved.key), std::move(moved.resource));
  return change;
}

void compute() {
  const auto all = large_cluster();
  Engine engine({.node = test::kShapeNode});
  const auto start = cpu_seconds();
  const auto whole = engine.update(all);
  print("routes-cold", (cpu_seconds() - start) * 1e3, "ms");
  fmt::print(stderr, "{} routes and {} tunnel ends from cold\n", whole.routes.size(), whole.peers.size());

  std::vector<double> times;
  std::size_t routes = 0;
  for (int i = 0; i < kMoves; ++i) {
    const auto change = move_of(i);
    const auto began = Clock::now();
    routes += engine.update(change).routes.size();
    times.push_back(seconds_since(began));
  }
  print("routes-host-change", p99(times) * 1e3, "ms");
  print("routes-host-change-writes", double(routes) / kMoves, "routes");
}

// --- in the kernel

Prefix block(std::uint32_t number) {
  return {IpAddress::v4(0x0A000000U + number * 64), 26};
}
IpAddress next_hop(std::uint32_t number) {
  return IpAddress::v4(0xAC100002U + number % 1'000);
}

Changes<Prefix, Route> blocks(std::uint32_t count) {
  Changes<Prefix, Route> routes;
  for (std::uint32_t number = 0; number < count; ++number)
    routes.update(block(number), {Route::Kind::kHost, "", next_hop(number)});
  return routes;
}

std::string batch_file(const std::string& folder, std::uint32_t count) {
  const auto path = fmt::format("{}/routes-{}", folder, count);
  std::ofstream file(path);
  for (std::uint32_t number = 0; number < count; ++number)
    file << fmt::format("route add {} via {} dev here onlink proto {} metric {}\n", block(number).to_string(),
                        next_hop(number).to_string(), kProtocol, dataplane::kRouteMetric);
  return path;
}

void program(kernel::RouteKernel& kernel, const std::string& folder, std::uint32_t count, const char* name) {
  const auto file = batch_file(folder, count);
  const auto wanted = blocks(count);
  std::vector<double> ours, theirs;
  for (int round = 0; round < kRounds; ++round) {
    RouteTable table(kernel, {.protocol = kProtocol});
    auto start = Clock::now();
    table.want(wanted, {});
    must(table.sync());
    ours.push_back(seconds_since(start));
    must(dataplane::remove_routes(kernel, kProtocol));
    start = Clock::now();
    shell("ip -batch " + file);
    theirs.push_back(seconds_since(start));
    must(dataplane::remove_routes(kernel, kProtocol));
  }
  print(fmt::format("routes-program-{}", name), median(ours) * 1e3, "ms");
  print(fmt::format("routes-program-{}-ratio", name), median(ours) / median(theirs), "x");
}

// What a dump costs that nobody reads.
double bare_dump() {
  auto socket = must(kernel::NetlinkSocket::open(NETLINK_ROUTE));
  const auto start = Clock::now();
  std::size_t count = 0;
  for (const auto family : {AF_INET, AF_INET6}) {
    rtmsg header{};
    header.rtm_family = static_cast<unsigned char>(family);
    header.rtm_protocol = kProtocol;
    header.rtm_table = RT_TABLE_MAIN;
    kernel::MessageBuilder request;
    request.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), header);
    request.end();
    must(socket.query(request.bytes(), [&](kernel::MessageView) { ++count; }));
  }
  const auto took = seconds_since(start);
  if (count < 65'536) must(fail(ErrorCode::kInternal, "a dump of {} routes", count));
  return took;
}

void resync(kernel::RouteKernel& kernel) {
  RouteTable table(kernel, {.protocol = kProtocol});
  table.want(blocks(65'536), {});
  must(table.sync());
  const auto writes = table.writes();
  std::vector<double> ours, bare;
  for (int round = 0; round < 4 * kRounds; ++round) {
    bare.push_back(bare_dump());
    const auto start = Clock::now();
    table.distrust_routes();
    must(table.sync());
    ours.push_back(seconds_since(start));
  }
  if (table.writes() != writes) must(fail(ErrorCode::kInternal, "a resync wrote something"));
  print("routes-resync-65536", median(ours) * 1e3, "ms");
  print("routes-resync-ratio", median(ours) / median(bare), "x");
  must(dataplane::remove_routes(kernel, kProtocol));
}

void in_kernel() {
  shell(
      "ip link add here type veth peer name there; ip link set here up; ip link set there up; "
      "ip addr add 172.16.0.1/16 dev here");
  const auto kernel = must(kernel::NetlinkRoutes::open());
  std::string folder = "/tmp/ocicat-routes-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) must(fail_errno(folder, errno));
  program(*kernel, folder, 1'000, "1k");
  program(*kernel, folder, 10'000, "10k");
  program(*kernel, folder, 100'000, "100k");
  resync(*kernel);
  shell("rm -r " + folder);
}

// What an agent's threads do for one host's change, from the engine to the kernel, beside 5,000 others; and
// whether one that comes after another finds everything in place.
void change_hosts(dataplane::Datapath datapath) {
  shell(
      "ip link add here type veth peer name there; ip link set here up; ip link set there up; "
      "ip addr add 172.16.0.0/12 dev here");
  const auto policy = must(kernel::nft::NetlinkKernel::open("ocicat"));
  const auto nat = must(kernel::nft::NetlinkKernel::open("ocicat_nat"));
  const auto routes = must(kernel::NetlinkRoutes::open());
  const auto tunnels = must(kernel::NetlinkTunnels::open());
  const auto connections = must(kernel::NetlinkConnections::open());
  const auto queues = must(kernel::NetlinkQueues::open());
  const dataplane::HostKeeper::Kernels kernels{*policy, *nat, *routes, *tunnels, *connections, *queues};
  const auto attempt = [](dataplane::HostKeeper& keeper, const HostChanges& changes) {
    keeper.take(changes);
    if (!keeper.attempt()) must(fail(ErrorCode::kInternal, "{}", keeper.report().error));
    return keeper.report().kernel_writes;
  };
  Engine engine({.node = test::kShapeNode});
  const auto whole = engine.update(large_cluster());
  const test::PinFolder pins;
  const auto options = pins.options(datapath);
  {
    dataplane::HostKeeper before(kernels, options);
    const auto writes = attempt(before, whole);
    const auto& report = before.report();
    fmt::print(stderr, "{} of {} routes by {} writes\n", report.routes_ready, report.routes, writes);
    if (report.routes_ready != report.routes || report.routes < 20'000)
      must(fail(ErrorCode::kInternal, "routes wait"));
  }
  dataplane::HostKeeper keeper(kernels, options);
  const auto found = attempt(keeper, whole);
  std::vector<double> times;
  for (int i = 0; i < kMoves; ++i) {
    const auto change = move_of(i);
    const auto began = thread_cpu_seconds();
    attempt(keeper, engine.update(change));
    times.push_back(thread_cpu_seconds() - began);
  }
  const std::string figure = "routes-host-change-kernel";
  const auto* of = datapath == dataplane::Datapath::kEbpf ? "-ebpf" : "";
  print(figure + of, median(times) * 1e3, "ms");
  print(figure + of + "-p99", p99(times) * 1e3, "ms");
  if (datapath == dataplane::Datapath::kEbpf) return;
  print("routes-adopt-writes", double(found), "writes");
  print(figure + "-writes", double(keeper.report().kernel_writes - found) / kMoves, "writes");
}

}  // namespace
}  // namespace ocicat

int main() {
  ocicat::use_large_pages();  // as the agent does
  ocicat::compute();
  using ocicat::dataplane::Datapath;
  const std::function<void()> all[] = {[] { ocicat::change_hosts(Datapath::kNftables); },
                                       [] { ocicat::change_hosts(Datapath::kEbpf); }, ocicat::in_kernel};
  for (const auto& work : all) {
    const auto ns = ocicat::kernel::NetworkNamespace::create();
    if (!ns) {
      fmt::print(stderr, "{} (needs root)\n", ns.error().message);
      return 1;
    }
    ns->run(work);
  }
}
