#include "http/server.h"

#include <unistd.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "http/loop_state.h"

namespace ocicat::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using Protocol = asio::generic::stream_protocol;
using Acceptor = asio::basic_socket_acceptor<Protocol, asio::io_context::executor_type>;
using Socket = asio::basic_stream_socket<Protocol, asio::io_context::executor_type>;
using SocketStream = beast::basic_stream<Protocol, asio::io_context::executor_type>;

constexpr std::chrono::seconds kLinger{2};
constexpr std::size_t kLingerPiece = 16 * 1024;
constexpr std::size_t kLingerBytes = 16 * 1024 * 1024;

class Session;

// What sessions share. Lives on the loop's thread, but for the pool.
struct Core {
  ServerOptions options;
  Handler handler;
  std::shared_ptr<Loop::State> loop;
  asio::thread_pool pool;
  std::unordered_set<Session*> sessions;
  bool stopping = false;
  std::function<void()> on_idle;  // the last session has ended

  Core(ServerOptions given, Handler given_handler, std::shared_ptr<Loop::State> given_loop)
      : options(std::move(given)),
        handler(std::move(given_handler)),
        loop(std::move(given_loop)),
        pool(options.workers) {}

  Response refusal(int status, std::string_view message) const {
    if (options.refuse) return options.refuse(status, message);
    Response response;
    response.status = status;
    response.body = std::string(message) + "\n";
    return response;
  }
};

// One connection: head → body → handler → response or stream → head of the next request.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Core& core, Socket socket) : core_(&core), stream_(std::move(socket)) {
    core.sessions.insert(this);
  }

  void start() { read_head(); }

  // Ends at the next good moment: at once when idle, else after the response.
  void wind_down() {
    if (phase_ == Phase::kIdle) return close();
    if (phase_ == Phase::kStreaming) pump();
  }

  void close() {
    if (phase_ == Phase::kClosed) return;
    phase_ = Phase::kClosed;
    const auto last =
        std::exchange(anchor_, nullptr);  // may be all that keeps this session: touch it no more after
    timer_.reset();
    source_.reset();
    stream_.close();
    core_->sessions.erase(this);
    if (core_->sessions.empty() && core_->on_idle) core_->on_idle();
  }

 private:
  enum class Phase { kIdle, kHandling, kStreaming, kClosed };

  void read_head() {
    phase_ = Phase::kIdle;
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(core_->options.max_header_bytes));
    parser_->body_limit(core_->options.max_body_bytes);
    stream_.expires_after(core_->options.head_timeout);
    beast::http::async_read_header(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](error_code error, std::size_t) { self->on_head(error); });
  }

  void on_head(error_code error) {
    if (phase_ == Phase::kClosed) return;
    if (error) return on_broken_request(error);
    phase_ = Phase::kHandling;
    if (parser_->get().version() != 11) return refuse(505, "this server speaks HTTP/1.1");
    if (beast::iequals(parser_->get()[beast::http::field::expect], "100-continue")) {
      static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      stream_.expires_after(core_->options.write_timeout);
      asio::async_write(stream_, asio::buffer(kContinue),
                        [self = shared_from_this()](error_code failed, std::size_t) {
                          if (failed) return self->close();
                          self->read_body();
                        });
      return;
    }
    read_body();
  }

  void read_body() {
    stream_.expires_after(core_->options.body_timeout);
    beast::http::async_read(stream_, buffer_, *parser_,
                            [self = shared_from_this()](error_code error, std::size_t) {
                              if (self->phase_ == Phase::kClosed) return;
                              if (error) return self->on_broken_request(error);
                              self->dispatch();
                            });
  }

  void on_broken_request(error_code error) {
    using Reason = beast::http::error;
    if (error == Reason::body_limit) {
      return refuse(413, fmt::format("the body is larger than {} bytes", core_->options.max_body_bytes));
    }
    if (error == Reason::header_limit) {
      return refuse(431, fmt::format("the head is larger than {} bytes", core_->options.max_header_bytes));
    }
    const bool malformed = error.category() == make_error_code(Reason::bad_method).category() &&
                           error != Reason::end_of_stream && error != Reason::partial_message;
    if (malformed) return refuse(400, "not an HTTP request: " + error.message());
    close();
  }

  // Answers without the handler, and ends the connection: what else is on the wire cannot be told apart.
  void refuse(int status, std::string_view message) {
    phase_ = Phase::kHandling;
    keep_ = false;
    unread_ = true;
    answer(core_->refusal(status, message));
  }

  void dispatch() {
    auto& message = parser_->get();
    keep_ = message.keep_alive();
    Request request;
    request.method = std::string(message.method_string());
    without_body_ = message.method() == beast::http::verb::head;
    request.target = std::string(message.target());
    for (const auto& field : message)
      request.headers.push_back({std::string(field.name_string()), std::string(field.value())});
    request.body = std::move(message.body());
    parser_.reset();
    stream_.expires_never();
    asio::post(core_->pool, [core = core_, request = std::move(request), respond = responder()]() mutable {
      core->handler(std::move(request), std::move(respond));
    });
  }

  // What the handler holds: the way back to this session's thread, whatever has become of it.
  Respond responder() {
    struct Pending {
      std::weak_ptr<Session> session;
      std::shared_ptr<Loop::State> loop;
      std::atomic<bool> answered = false;
      void send(std::optional<Response> response) {
        if (answered.exchange(true)) return;
        asio::post(loop->context, [weak = session, response = std::move(response)]() mutable {
          const auto self = weak.lock();
          if (!self || self->phase_ != Phase::kHandling) return;
          if (response) return self->answer(*std::move(response));
          self->refuse(500, "the request was dropped");
        });
      }
      ~Pending() { send(std::nullopt); }
    };
    auto pending = std::make_shared<Pending>();
    pending->session = weak_from_this();
    pending->loop = core_->loop;
    anchor_ = shared_from_this();
    return [pending](Response response) { pending->send(std::move(response)); };
  }

  void answer(Response response) {
    const auto self = std::exchange(anchor_, nullptr);  // from here the pending write keeps the session
    if (core_->stopping) keep_ = false;
    auto head = std::make_shared<beast::http::response<beast::http::string_body>>();
    head->version(11);
    head->result(static_cast<unsigned>(response.status));
    if (!response.content_type.empty()) head->set(beast::http::field::content_type, response.content_type);
    for (const auto& [name, value] : response.headers) head->set(name, value);
    head->keep_alive(keep_);
    stream_.expires_after(core_->options.write_timeout);
    if (response.stream) return begin_stream(std::move(response.stream), *head);
    head->body() = std::move(response.body);
    head->prepare_payload();
    if (without_body_) head->body().clear();  // its length is told all the same: RFC 9110 9.3.2
    beast::http::async_write(stream_, *head,
                             [this_session = shared_from_this(), head](error_code error, std::size_t) {
                               if (error) return this_session->close();
                               this_session->after_response();
                             });
  }

  void after_response() {
    if (phase_ == Phase::kClosed) return;
    if (keep_ && !core_->stopping) return read_head();
    unread_ ? linger() : close();
  }

  // Closing over unread bytes would reset the connection, and the peer could lose the answer: so say that
  // there will be no more, and read on for a while.
  void linger() {
    phase_ = Phase::kIdle;
    error_code error;
    if (stream_.socket().shutdown(Socket::shutdown_send, error)) return close();  // who would read it is gone
    stream_.expires_after(kLinger);
    chunk_.resize(kLingerPiece);
    drain(kLingerBytes);
  }

  void drain(std::size_t budget) {
    stream_.async_read_some(asio::buffer(chunk_),
                            [self = shared_from_this(), budget](error_code error, std::size_t got) {
                              if (error || got >= budget) return self->close();
                              self->drain(budget - got);
                            });
  }

  void begin_stream(std::shared_ptr<Stream> source,
                    const beast::http::response<beast::http::string_body>& like) {
    phase_ = Phase::kStreaming;
    source_ = std::move(source);
    auto head = std::make_shared<beast::http::response<beast::http::empty_body>>(like.base());
    head->chunked(true);
    auto serializer = std::make_shared<beast::http::response_serializer<beast::http::empty_body>>(*head);
    writing_ = true;
    source_->on_more([weak = weak_from_this(), loop = core_->loop] {
      asio::post(loop->context, [weak] {
        if (const auto self = weak.lock()) self->pump();
      });
    });
    anchor_ = shared_from_this();  // the stream keeps the session until it ends
    beast::http::async_write_header(
        stream_, *serializer, [self = shared_from_this(), head, serializer](error_code error, std::size_t) {
          self->after_chunk(error);
        });
    watch_for_hangup();
  }

  // A client that goes away while there is nothing to send is noticed by reading.
  void watch_for_hangup() {
    stream_.socket().async_wait(Socket::wait_read, [weak = weak_from_this()](error_code error) {
      const auto self = weak.lock();
      if (!self || error || self->phase_ != Phase::kStreaming) return;
      char byte = 0;
      error_code failed;
      self->stream_.socket().receive(asio::buffer(&byte, 1), Socket::message_peek, failed);
      if (failed && failed != asio::error::would_block && failed != asio::error::try_again) self->close();
      // Bytes of a next request stay where they are until the stream has ended.
    });
  }

  void pump() {
    if (phase_ != Phase::kStreaming || writing_) return;
    auto chunk = core_->stopping ? std::nullopt : source_->next();
    if (chunk && chunk->empty()) return wait_for_more();
    timer_.reset();
    writing_ = true;
    stream_.expires_after(core_->options.write_timeout);
    if (!chunk) {
      source_.reset();
      asio::async_write(stream_, beast::http::make_chunk_last(),
                        [self = shared_from_this()](error_code error, std::size_t) {
                          self->anchor_.reset();
                          self->writing_ = false;
                          if (error) return self->close();
                          self->stream_.socket().cancel();  // the wait for a hang-up
                          self->after_response();
                        });
      return;
    }
    chunk_ = *std::move(chunk);
    asio::async_write(
        stream_, beast::http::make_chunk(asio::buffer(chunk_)),
        [self = shared_from_this()](error_code error, std::size_t) { self->after_chunk(error); });
  }

  void after_chunk(error_code error) {
    writing_ = false;
    if (error) return close();
    stream_.expires_never();
    pump();
  }

  void wait_for_more() {
    const auto at = source_->wake_at();
    if (!at) return;
    timer_.emplace(core_->loop->context, *at);
    timer_->async_wait([weak = weak_from_this()](error_code error) {
      if (error) return;
      if (const auto self = weak.lock()) self->pump();
    });
  }

  Core* core_;
  SocketStream stream_;
  beast::flat_buffer buffer_;
  std::optional<beast::http::request_parser<beast::http::string_body>> parser_;
  Phase phase_ = Phase::kIdle;
  bool keep_ = false;
  bool without_body_ = false;        // the answer, whatever it is
  bool unread_ = false;              // the peer may have sent more than was read
  std::shared_ptr<Session> anchor_;  // to itself, while nothing on the loop refers to it
  std::shared_ptr<Stream> source_;
  std::string chunk_;
  bool writing_ = false;
  std::optional<asio::steady_timer> timer_;
};

// Accepts on one endpoint until closed.
class Door {
 public:
  Door(Core& core, Listening listening)
      : core_(&core),
        listening_(std::move(listening)),
        acceptor_(core.loop->context),
        pause_(core.loop->context) {
    const Protocol protocol(listening_.endpoint.is_unix()         ? AF_UNIX
                            : listening_.endpoint.address.is_v4() ? AF_INET
                                                                  : AF_INET6,
                            0);
    acceptor_.assign(protocol, listening_.fd.release());
  }

  ~Door() { close(); }
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  void accept() {
    acceptor_.async_accept([this](error_code error, Socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
      if (error) {  // out of descriptors: the connection waits in the backlog until one is free
        pause_.expires_after(std::chrono::milliseconds(100));
        pause_.async_wait([this](error_code cancelled) {
          if (!cancelled) accept();
        });
        return;
      }
      if (core_->sessions.size() < core_->options.max_connections) {
        std::make_shared<Session>(*core_, std::move(socket))->start();
      }
      accept();
    });
  }

  void close() {
    if (!acceptor_.is_open()) return;
    pause_.cancel();
    acceptor_.close();
    if (listening_.endpoint.is_unix()) ::unlink(listening_.endpoint.path.c_str());
  }

 private:
  Core* core_;
  Listening listening_;
  Acceptor acceptor_;
  asio::steady_timer pause_;
};

}  // namespace

struct Server::State {
  Loop loop;
  Core core;
  std::vector<std::unique_ptr<Door>> doors;
  std::vector<Endpoint> endpoints;
  std::unique_ptr<Loop::Timer> deadline;
  std::thread thread;
  std::once_flag stopped;

  State(ServerOptions options, Handler handler)
      : core(std::move(options), std::move(handler), loop.state()) {}

  // On the loop's thread.
  void begin_stop() {
    core.stopping = true;
    for (const auto& door : doors) door->close();
    core.on_idle = [this] { loop.stop(); };
    deadline = loop.after(core.options.grace, [this] {
      for (auto* session : std::vector(core.sessions.begin(), core.sessions.end())) session->close();
    });
    for (auto* session : std::vector(core.sessions.begin(), core.sessions.end())) session->wind_down();
    if (core.sessions.empty()) loop.stop();
  }
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() {
  stop();
}

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, Handler handler) {
  auto state = std::make_unique<State>(std::move(options), std::move(handler));
  for (const auto& endpoint : state->core.options.endpoints) {
    TRY(auto listening, listen(endpoint));
    state->endpoints.push_back(listening.endpoint);
    state->doors.push_back(std::make_unique<Door>(state->core, std::move(listening)));
  }
  for (const auto& door : state->doors) door->accept();
  state->thread = std::thread([&loop = state->loop] { loop.run(); });
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

const std::vector<Endpoint>& Server::endpoints() const {
  return state_->endpoints;
}

void Server::stop() {
  std::call_once(state_->stopped, [this] {
    state_->loop.post([this] { state_->begin_stop(); });
    state_->thread.join();
    state_->core.pool.join();
  });
}

}  // namespace ocicat::http
