#include "agent/flow_door.h"

#include <boost/json.hpp>
#include <utility>

#include "http/server.h"

namespace ocicat::agent {
namespace {

constexpr std::size_t kMostReaders = 64;
constexpr std::size_t kPiece = 64 * 1024;  // of the stream, to be taken within the server's time

// Pulled by the server as fast as the reader takes it; what waits meanwhile is bounded by FlowLines.
class FlowStream final : public http::Stream {
 public:
  explicit FlowStream(std::shared_ptr<FlowMailbox> mailbox) : mailbox_(std::move(mailbox)) {}
  ~FlowStream() override { mailbox_->on_put({}); }

  std::optional<std::string> next() override {
    if (at_ == now_.lines.size() && now_.missed == 0) {
      now_ = mailbox_->take().value_or(FlowLines{});
      at_ = 0;
    }
    std::string text;
    while (at_ < now_.lines.size() && text.size() < kPiece) text += *now_.lines[at_++];
    if (at_ == now_.lines.size() && now_.missed != 0)
      text += fmt::format("{{\"missed\":{}}}\n", std::exchange(now_.missed, 0));
    return text;
  }
  void on_more(std::function<void()> wake) override { mailbox_->on_put(std::move(wake)); }

 private:
  std::shared_ptr<FlowMailbox> mailbox_;
  FlowLines now_;
  std::size_t at_ = 0;  // of its lines
};

}  // namespace

std::filesystem::path flow_socket(const std::filesystem::path& run_dir) {
  return run_dir / "agent.sock";
}

struct FlowDoor::State {
  FlowWatch* watch = nullptr;
  std::unique_ptr<http::Server> server;

  void answer(const http::Request& request, const http::Respond& respond) const {
    const auto target = http::Target::parse(request.target);
    if (request.method != "GET" || !target || target->path != "/flows") {
      return respond({404, "text/plain", {}, "GET /flows\n", {}});
    }
    if (target->parameter("follow") == "1") {
      FlowFilter filter{target->parameter("refused") == "1", std::string(target->parameter("namespace"))};
      return respond(
          {200, "application/x-ndjson", {}, {}, std::make_shared<FlowStream>(watch->follow(filter))});
    }
    watch->ask([respond](const boost::json::object& summary) {
      respond({200, "application/json", {}, boost::json::serialize(summary) + "\n", {}});
    });
  }
};

FlowDoor::FlowDoor(std::unique_ptr<State> state) : state_(std::move(state)) {}
FlowDoor::~FlowDoor() = default;

Result<std::unique_ptr<FlowDoor>> FlowDoor::open(const std::filesystem::path& run_dir, FlowWatch& watch) {
  auto state = std::make_unique<State>();
  state->watch = &watch;
  http::ServerOptions serving;
  serving.endpoints = {http::Endpoint::unix_socket(flow_socket(run_dir).string())};
  serving.workers = 1;
  serving.max_connections = kMostReaders;
  auto server = http::Server::start(
      std::move(serving),
      [self = state.get()](const auto& request, const auto& respond) { self->answer(request, respond); });
  if (!server) return within("flows", server.error());
  state->server = *std::move(server);
  return std::unique_ptr<FlowDoor>(new FlowDoor(std::move(state)));
}

}  // namespace ocicat::agent
