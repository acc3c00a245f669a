#include "agent/cni_door.h"

#include <sys/stat.h>

#include <future>
#include <utility>

#include "agent/cluster_lock.h"
#include "cni/call.h"
#include "cni/places.h"
#include "cni/service/service.h"
#include "http/server.h"
#include "ipam/api_documents.h"
#include "ipam/group_allocator.h"
#include "kernel/workload_links.h"

namespace ocicat::agent {
namespace {

// Calls that are carried out at a time; each waits for the server and the kernel most of its time.
constexpr std::size_t kCallsAtOnce = 32;
// What is around the configuration in a request.
constexpr std::size_t kMostEnvironment = 64 * 1024;

Result<void> make_folder(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return fail_errno(fmt::format("create {}", folder.string()), failed.value());
  if (::chmod(folder.c_str(), 0700) != 0) return fail_errno(folder.string(), errno);
  return {};
}

}  // namespace

// Those who are called before those who call: destroyed in reverse.
struct CniDoor::State {
  explicit State(const api::Address& address)
      : allocator(std::make_unique<ipam::ApiDocuments>(address)), lock(address) {}

  kernel::NetlinkWorkloadLinks links;
  ipam::GroupAllocator allocator;
  ClusterLock lock;
  std::unique_ptr<cni::Service> service;
  std::promise<void> starting;
  std::shared_future<void> started = starting.get_future().share();
  std::unique_ptr<http::Server> server;

  // Whoever calls while the agent starts waits: the plugin then need not guess whether a note that it leaves
  // will be seen.
  http::Response answer(const http::Request& request) {
    if (request.method != "POST" || request.target != cni::kTarget)
      return {404, "text/plain", {}, "POST /cni\n", {}};
    started.wait();
    if (service == nullptr) return {503, "text/plain", {}, "the agent does not start\n", {}};
    auto reply = service->answer(request.body);
    return {reply.done ? 200 : 500, "application/json", {}, std::move(reply.text), {}};
  }
};

CniDoor::CniDoor(std::unique_ptr<State> state) : state_(std::move(state)) {}
CniDoor::~CniDoor() = default;

Result<std::unique_ptr<CniDoor>> CniDoor::open(Options options) {
  TRY_VOID(make_folder(options.folder));
  auto state = std::make_unique<State>(options.server);
  State* const self = state.get();
  http::ServerOptions serving;
  serving.endpoints = {http::Endpoint::unix_socket((options.folder / cni::kSocket).string())};
  serving.workers = kCallsAtOnce;
  serving.max_body_bytes = cni::kMostConfig + kMostEnvironment;
  // It listens before it reads what plugins have noted: so nothing is noted that is not read.
  auto server = http::Server::start(
      std::move(serving),
      [self](const http::Request& request, const http::Respond& respond) { respond(self->answer(request)); });
  if (!server) return within("container runtimes", server.error());
  state->server = *std::move(server);
  auto service = cni::Service::start(
      {.node = options.node, .folder = options.folder, .boot = cni::this_boot()},
      {.allocator = &state->allocator,
       .links = &state->links,
       .enforcement = options.enforcement,
       .documents = [address = options.server] { return std::make_unique<ipam::ApiDocuments>(address); },
       .why_not_ready = std::move(options.why_not_ready),
       .why_locked = [self] { return self->lock.why_locked(); }});
  if (service) state->service = *std::move(service);
  state->starting.set_value();
  if (!service) return within("container runtimes", service.error());
  return std::unique_ptr<CniDoor>(new CniDoor(std::move(state)));
}

}  // namespace ocicat::agent
