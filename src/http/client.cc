#include "http/client.h"

#include <sys/socket.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <array>

#include "http/loop_state.h"

namespace ocicat::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using Protocol = asio::generic::stream_protocol;
using SocketStream = beast::basic_stream<Protocol, asio::io_context::executor_type>;

constexpr std::size_t kPieceBytes = 64 * 1024;
// Beast reads 512 bytes at a time into a buffer that has no room: an event of a watch would take several.
constexpr std::size_t kReadAtOnce = 16 * 1024;
constexpr std::uint32_t kMaxHeadBytes = 64 * 1024;

Protocol::endpoint asio_endpoint(const Endpoint& endpoint) {
  if (endpoint.is_unix()) return asio::local::stream_protocol::endpoint(endpoint.path);
  return asio::ip::tcp::endpoint(asio::ip::make_address(endpoint.address.to_string()), endpoint.port);
}

}  // namespace

// Outlives its Connection while operations are pending; `closed_` keeps it silent then.
class Connection::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Loop::State> loop, Endpoint endpoint, Timeouts timeouts)
      : loop_(std::move(loop)), endpoint_(std::move(endpoint)), timeouts_(timeouts) {}

  void send(Request request, Callbacks callbacks) {
    CHECK(!busy_);
    busy_ = true;
    callbacks_ = std::make_shared<Callbacks>(std::move(callbacks));
    message_ = {};
    message_.version(11);
    message_.method_string(request.method);
    message_.target(request.target);
    message_.set(beast::http::field::host,
                 endpoint_.is_unix() ? "localhost" : endpoint_.to_string().substr(7));
    for (const auto& [name, value] : request.headers) message_.set(name, value);
    message_.body() = std::move(request.body);
    if (!message_.body().empty() || request.method == "POST" || request.method == "PUT")
      message_.prepare_payload();
    const bool kept = still_open();
    may_ask_again_ = kept && request.method == "GET";
    kept ? write() : connect();
  }

  void close() {
    closed_ = true;
    callbacks_.reset();
    stream_.reset();
    // It keeps what is pending, and that keeps this: a loop that has stopped would keep both for good.
    loop_.reset();
  }

 private:
  // A kept connection on which the server has said anything, or good-bye, is of no more use.
  bool still_open() {
    if (!stream_) return false;
    char byte = 0;
    const auto got = ::recv(stream_->socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  void connect() {
    buffer_.clear();
    buffer_.reserve(kReadAtOnce);
    stream_ = std::make_unique<SocketStream>(loop_->context);
    Protocol::endpoint target;
    try {
      target = asio_endpoint(endpoint_);
    } catch (const boost::system::system_error& error) {  // the path is too long
      return asio::post(loop_->context, [self = shared_from_this(), code = error.code()] {
        self->fail_with("connect", code);
      });
    }
    stream_->expires_after(timeouts_.connect);
    stream_->async_connect(target, [self = shared_from_this()](error_code error) {
      if (self->closed_) return;
      if (error) return self->fail_with("connect", error);
      self->write();
    });
  }

  void write() {
    stream_->expires_after(timeouts_.head);
    beast::http::async_write(*stream_, message_, [self = shared_from_this()](error_code error, std::size_t) {
      if (self->closed_) return;
      // A server that refuses a body answers before it has read it: look for the answer even so.
      if (error && error != asio::error::broken_pipe && error != asio::error::connection_reset) {
        return self->fail_with("send", error);
      }
      self->read_head();
    });
  }

  void read_head() {
    parser_.emplace();
    parser_->header_limit(kMaxHeadBytes);
    parser_->body_limit(boost::none);
    beast::http::async_read_header(*stream_, buffer_, *parser_,
                                   [self = shared_from_this()](error_code error, std::size_t) {
                                     if (self->closed_) return;
                                     if (error && self->asks_again(error)) return;
                                     if (error) return self->fail_with("receive", error);
                                     self->on_head();
                                   });
  }

  // A server closes connections on which it has heard nothing for a while, and may do so just when it is asked.
  bool asks_again(error_code error) {
    const bool is_closed =
        error == beast::http::error::end_of_stream || error == asio::error::connection_reset;
    if (!is_closed || !std::exchange(may_ask_again_, false)) return false;
    connect();
    return true;
  }

  void on_head() {
    Headers headers;
    for (const auto& field : parser_->get())
      headers.push_back({std::string(field.name_string()), std::string(field.value())});
    const auto callbacks = callbacks_;  // stays while it runs, even if it destroys the connection
    if (callbacks->on_head) callbacks->on_head(static_cast<int>(parser_->get().result_int()), headers);
    if (closed_) return;
    read_body();
  }

  void read_body() {
    if (parser_->is_done()) return finish();
    parser_->get().body().data = piece_.data();
    parser_->get().body().size = piece_.size();
    parser_->get().body().more = true;
    stream_->expires_after(timeouts_.data);
    beast::http::async_read_some(
        *stream_, buffer_, *parser_, [self = shared_from_this()](error_code error, std::size_t) {
          if (self->closed_) return;
          if (error && error != beast::http::error::need_buffer) return self->fail_with("receive", error);
          const auto got = self->piece_.size() - self->parser_->get().body().size;
          if (const auto callbacks = self->callbacks_; got > 0 && callbacks->on_data) {
            callbacks->on_data({self->piece_.data(), got});
            if (self->closed_) return;
          }
          self->read_body();
        });
  }

  void finish() {
    if (!parser_->get().keep_alive()) stream_.reset();
    if (stream_) stream_->expires_never();
    end({});
  }

  void fail_with(std::string_view doing, error_code error) {
    if (closed_) return;
    stream_.reset();
    if (error == boost::system::errc::permission_denied) {
      return end(fail_errno(fmt::format("{}: {}", endpoint_.to_string(), doing), error.value()));
    }
    const auto why =
        error == beast::error::timeout ? std::string("no answer in time")
        : error == beast::http::error::end_of_stream || error == beast::http::error::partial_message
            ? std::string("the server broke off")
            : error.message();
    end(fail(ErrorCode::kUnavailable, "{}: {}: {}", endpoint_.to_string(), doing, why));
  }

  void end(Result<void> result) {
    busy_ = false;
    const auto callbacks = std::exchange(callbacks_, nullptr);
    if (callbacks->on_end) callbacks->on_end(std::move(result));
  }

  std::shared_ptr<Loop::State> loop_;
  Endpoint endpoint_;
  Timeouts timeouts_;
  std::unique_ptr<SocketStream> stream_;
  beast::flat_buffer buffer_;
  beast::http::request<beast::http::string_body> message_;
  std::optional<beast::http::response_parser<beast::http::buffer_body>> parser_;
  std::array<char, kPieceBytes> piece_;
  std::shared_ptr<Callbacks> callbacks_;
  bool busy_ = false;
  bool closed_ = false;
  bool may_ask_again_ = false;  // over a connection of its own, where the kept one brings no answer
};

Connection::Connection(Loop& loop, Endpoint endpoint, Timeouts timeouts)
    : session_(std::make_shared<Session>(loop.state(), std::move(endpoint), timeouts)) {}
Connection::~Connection() {
  session_->close();
}

void Connection::send(Request request, Callbacks callbacks) {
  session_->send(std::move(request), std::move(callbacks));
}

BlockingClient::BlockingClient(Endpoint endpoint, Timeouts timeouts)
    : endpoint_(std::move(endpoint)), timeouts_(timeouts) {}
BlockingClient::~BlockingClient() = default;

Result<Response> BlockingClient::send(Request request) {
  return stream(std::move(request), {});
}

Result<Response> BlockingClient::stream(Request request,
                                        const std::function<bool(std::string_view)>& on_data) {
  if (!connection_) connection_ = std::make_unique<Connection>(loop_, endpoint_, timeouts_);
  Response response;
  std::optional<Result<void>> end;
  Callbacks callbacks;
  callbacks.on_head = [&](int status, const Headers& headers) {
    response.status = status;
    response.headers = headers;
    response.content_type = find(headers, "content-type");
  };
  callbacks.on_data = [&](std::string_view data) {
    if (!on_data || response.status != 200) {
      response.body += data;
    } else if (!on_data(data)) {
      end.emplace();
      connection_.reset();
    }
  };
  callbacks.on_end = [&](Result<void> result) { end = std::move(result); };
  connection_->send(std::move(request), std::move(callbacks));
  while (!end) loop_.run_one();
  if (!*end) return std::unexpected(std::move(end->error()));
  return response;
}

}  // namespace ocicat::http
