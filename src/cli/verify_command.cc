#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <memory>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/snapshot.h"
#include "views/verify.h"

namespace ocicat::cli {
namespace {

struct VerifyOptions {
  FileOptions files;
  std::string cases;
  std::string junit;
  std::string server;
  std::string output;
};

Result<void> write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return fail(ErrorCode::kExhausted, "cannot write {}", path);
  return {};
}

Result<std::vector<views::Case>> load_cases(const std::string& path) {
  TRY(const std::string text, read_text(path));
  views::ReadCases read = views::read_cases(text, path);
  for (const Complaint& complaint : read.complaints) fmt::print(stderr, "{}\n", complaint.to_string());
  if (!read.complaints.empty()) {
    return fail(ErrorCode::kInvalid, "{} has {} mistake{}", path, read.complaints.size(),
                read.complaints.size() == 1 ? "" : "s");
  }
  if (read.cases.empty()) return fail(ErrorCode::kInvalid, "{} has no cases", path);
  return std::move(read.cases);
}

Result<int> run_verify(const VerifyOptions& options) {
  TRY(const std::vector<views::Case> cases, load_cases(options.cases));
  TRY(const policy::Snapshot snapshot, load_snapshot(options.files, options.server));
  const std::vector<views::CaseResult> results = views::verify(snapshot, cases);
  const auto failed = std::ranges::count_if(results, [](const auto& result) { return !result.passed(); });
  if (options.output.empty()) {
    for (const views::CaseResult& result : results) {
      if (!result.passed()) say("{}:{}: {}\n", options.cases, result.wanted.line, result.failure());
      if (const auto note = result.staged_note(); !note.empty()) {
        say("{}:{}: note: {}\n", options.cases, result.wanted.line, note);
      }
    }
    say("{} of {} cases hold\n", results.size() - static_cast<std::size_t>(failed), results.size());
  } else {
    say("{}", document_text(views::to_json(results), *parse_format(options.output)));
  }
  if (!options.junit.empty()) TRY_VOID(write_text(options.junit, views::to_junit(results, options.cases)));
  return failed == 0 ? kDone : kFailed;
}

constexpr std::string_view kVerifyFooter =
    R"(A cases file is a list, in YAML or JSON, bare or under `cases`. A case is

  - from: shop/frontend        # NAMESPACE/NAME, host:NAME or an IP address
    to: shop/api
    port: tcp/8080             # as `ocicat explain` takes it; tcp: every port must answer so
    expect: allow              # or deny
    family: 4                  # or 6; without it the case must hold over every family that both have
    source-port: 1024          # optional

or, for short,

  - shop/frontend -> shop/db tcp/5432: deny

Each case that does not hold is a line, with what decided; each whose answer staged policy would change is a note, and
counts by what is enforced. The exit code is 0 where all hold, else 1.

Examples:
  ocicat verify -f policies/ -f workloads.yaml --cases cases.yaml
  ocicat verify -f all.yaml --cases cases.yaml --junit report.xml
  ocicat verify --cases cases.yaml                      # against what stands at the server)";

}  // namespace

void add_verify_command(CLI::App& app) {
  auto* command = app.add_subcommand("verify", "Check expected connectivity, as a test for a pipeline");
  auto options = std::make_shared<VerifyOptions>();
  add_file_options(*command, options->files, false);
  command->add_option("--cases", options->cases, "What is expected")->required()->type_name("FILE");
  command->add_option("--junit", options->junit, "Write a JUnit report to this file")->type_name("FILE");
  command->add_option("-o,--output", options->output, "Output: json or yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  add_server_option(*command, options->server);
  command->footer(std::string(kVerifyFooter));
  command->callback([options] { finish(run_verify(*options)); });
}

}  // namespace ocicat::cli
