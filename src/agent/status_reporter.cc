#include "agent/status_reporter.h"

#include <spdlog/spdlog.h>

#include <boost/json/object.hpp>
#include <thread>
#include <utility>

#include "agent/pacer.h"
#include "base/thread_name.h"

namespace ocicat::agent {

struct StatusReporter::State {
  State(api::Address address, AgentStatus initial, Observer watcher)
      : client(std::move(address)), status(std::move(initial)), observer(std::move(watcher)) {}

  void run() {
    name_thread("status");
    Pacer pacer(std::chrono::steady_clock::now());
    while (!mailbox.closed()) {
      const auto patience = pacer.due() - std::chrono::steady_clock::now();
      if (auto news = mailbox.take_within(std::max(patience, Pacer::Duration::zero()))) {
        if (status.apply(*news)) pacer.changed(std::chrono::steady_clock::now());
        if (news->counters) pacer.share_with(news->counters->hosts);
        log_refusals(*news);
        if (news->report) {
          log_kernel(*news->report);
          log_warning(*news->report);
        }
        observer.on_news(*news, status);
      }
      if (mailbox.closed() || std::chrono::steady_clock::now() < pacer.due()) continue;
      const Result<void> written = write();
      const auto now = std::chrono::steady_clock::now();
      if (written) {
        pacer.wrote(now);
      } else {
        pacer.failed(now);
      }
      log_write(written);
      observer.on_write(written ? std::string() : written.error().message);
    }
  }

  // Nobody else writes this object, so what is there is replaced.
  Result<void> write() {
    const boost::json::object document = status.document(std::chrono::system_clock::now());
    const auto replaced = client.replace(document);
    if (replaced || replaced.error().code != ErrorCode::kNotFound) return replaced;
    const auto created = client.create(document);
    if (!created) return std::unexpected(created.error());
    return {};
  }

  void log_refusals(const News& news) {
    for (const auto* changes : {&news.unreadable, &news.refused}) {
      for (const auto& [key, reason] : changes->entries()) {
        if (reason) {
          spdlog::error("refused {}: {}", key.to_string(), *reason);
        } else {
          spdlog::info("no longer refused: {}", key.to_string());
        }
      }
    }
    for (const auto& [key, bound] : news.bounded.entries()) {
      if (bound) spdlog::warn("{}: {}", key.to_string(), *bound);
    }
  }

  void log_warning(const dataplane::Report& report) {
    if (report.warning == warning) return;
    warning = report.warning;
    if (warning.empty()) {
      spdlog::info("nothing speaks against the dataplane any more");
    } else {
      spdlog::warn("dataplane: {}", warning);
    }
  }

  // An error once when it begins and once when it ends, not at every try.
  void log_kernel(const dataplane::Report& report) {
    if (report.repairs > repairs) {
      spdlog::warn("somebody else changed what is ours in the kernel: mended, {} since the start",
                   report.repairs);
    }
    if (!report.error.empty() && kernel_error.empty())
      spdlog::error("the kernel is not as wanted, goes on trying: {}", report.error);
    if (report.error.empty() && !kernel_error.empty()) spdlog::info("the kernel is as wanted again");
    repairs = report.repairs;
    kernel_error = report.error;
  }

  void log_write(const Result<void>& written) {
    const std::string error = written ? std::string() : written.error().message;
    if (error.empty() && !last_error.empty()) spdlog::info("the status is at the server again");
    if (!error.empty() && last_error.empty())
      spdlog::warn("cannot write the status, goes on trying: {}", error);
    last_error = error;
  }

  api::Client client;
  AgentStatus status;
  Observer observer;
  Mailbox<News> mailbox;
  std::string last_error;    // of writing the status
  std::string kernel_error;  // of the dataplane
  std::string warning;       // what speaks against it
  std::uint64_t repairs = 0;
  std::thread thread;
};

StatusReporter::StatusReporter(api::Address server, AgentStatus status, Observer observer)
    : state_(std::make_unique<State>(std::move(server), std::move(status), std::move(observer))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

StatusReporter::~StatusReporter() {
  state_->mailbox.close();
  state_->thread.join();
}

void StatusReporter::tell(News news) {
  state_->mailbox.put(std::move(news));
}

}  // namespace ocicat::agent
