// ipam: durable assignments a second, against the program's own server over a Unix socket and SQLite, from
// blocks that the host has already: so many workloads at once ask one allocator, each waiting for its own
// answer, as the agent of a host where many containers start. ipam-one: the same, one after another.
// ipam-sharing: assignments for each write of a block while many ask.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "api/server/server.h"
#include "base/result.h"
#include "ipam/api_documents.h"
#include "ipam/group_allocator.h"

namespace {

using namespace ocicat;
using Clock = std::chrono::steady_clock;

constexpr int kWorkloads = 64;  // that wait at a time
constexpr int kEach = 16;       // 1,024 addresses: within the 20 blocks that a host may have
constexpr int kAlone = 200;
constexpr int kRounds = 5;

ipam::AssignRequest request(const std::string& handle) {
  ipam::AssignRequest request;
  request.host = "host1";
  request.handle = handle;
  request.attributes = {{"namespace", "shop"}, {"pod", handle}};
  request.ipv4 = 1;
  return request;
}

// Counts the writes of blocks.
class CountingDocuments : public ipam::Documents {
 public:
  CountingDocuments(const api::Address& address, std::atomic<int>& writes)
      : inner_(address), writes_(writes) {}

  using ipam::Documents::get;
  Result<std::vector<boost::json::object>> list(Kind kind) override { return inner_.list(kind); }
  std::vector<Result<boost::json::object>> get(const std::vector<ResourceKey>& keys) override {
    return inner_.get(keys);
  }
  std::vector<Result<boost::json::object>> write(std::vector<ipam::Write> writes) override {
    for (const auto& write : writes) {
      if (write.key.kind == Kind::kIpamBlock) ++writes_;
    }
    return inner_.write(std::move(writes));
  }

 private:
  ipam::ApiDocuments inner_;
  std::atomic<int>& writes_;
};

std::string handle(int workload, int number) {
  return fmt::format("k8s-pod-network.{:08x}{:08x}", workload, number);
}

template <class Work>
double seconds_of_all(Work work) {
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int workload = 0; workload < kWorkloads; ++workload) {
    threads.emplace_back([&, workload] {
      for (int number = 0; number < kEach; ++number) work(handle(workload, number));
    });
  }
  for (auto& thread : threads) thread.join();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main() {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("ocicat-ipam-bench-{}", ::getpid());
  std::filesystem::create_directories(folder);
  api::ServerOptions options;
  options.socket_path = folder / "server.sock";
  options.database_path = folder / "ocicat.db";
  auto server = api::Server::start(options);
  CHECK(server);
  const api::Address address{"unix://" + options.socket_path};
  api::Client client(address);
  CHECK(client.create({{"apiVersion", "projectcalico.org/v3"},
                       {"kind", "IPPool"},
                       {"metadata", boost::json::object{{"name", "pool"}}},
                       {"spec", boost::json::object{{"cidr", "10.0.0.0/16"}}}}));
  std::vector<double> together, alone, sharing;
  std::atomic<int> writes = 0;
  {
    ipam::GroupAllocator allocator(std::make_unique<CountingDocuments>(address, writes));
    const auto assign = [&](const std::string& name) { CHECK(allocator.assign(request(name))); };
    const auto release = [&](const std::string& name) { CHECK(allocator.release(name)); };
    seconds_of_all(assign);  // claims the blocks
    seconds_of_all(release);
    for (int round = 0; round < kRounds; ++round) {
      const int before = writes;
      together.push_back(kWorkloads * kEach / seconds_of_all(assign));
      sharing.push_back(static_cast<double>(kWorkloads * kEach) / (writes - before));
      seconds_of_all(release);
      const auto start = Clock::now();
      for (int number = 0; number < kAlone; ++number) assign(handle(kWorkloads, number));
      alone.push_back(kAlone / std::chrono::duration<double>(Clock::now() - start).count());
      for (int number = 0; number < kAlone; ++number) release(handle(kWorkloads, number));
    }
  }
  fmt::print("ipam {:.0f} assignments/s\n", median(together));
  fmt::print("ipam-one {:.0f} assignments/s\n", median(alone));
  fmt::print("ipam-sharing {:.1f} assignments/write\n", median(sharing));
  std::filesystem::remove_all(folder);
}
