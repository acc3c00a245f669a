#include "cli/inputs.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <map>
#include <tuple>

#include "base/unique_fd.h"
#include "cli/run.h"
#include "resources/validate.h"

namespace ocicat::cli {
namespace {

namespace fs = std::filesystem;

bool is_document_file(const fs::path& path) {
  constexpr std::array<std::string_view, 3> kEndings{".yaml", ".yml", ".json"};
  return std::ranges::count(kEndings, path.extension().string()) > 0;
}

template <class Iterator>
std::vector<std::string> document_files(const Iterator& files) {
  std::vector<std::string> found;
  for (const fs::directory_entry& entry : files) {
    // A link that leads nowhere is a file that cannot be read, not one that may be passed over.
    if (is_document_file(entry.path()) && !entry.is_directory()) found.push_back(entry.path().string());
  }
  std::ranges::sort(found);
  return found;
}

Result<std::vector<std::string>> expand(const std::string& path, bool recursive) {
  std::error_code unknown;  // read_text() will say why
  if (path == "-" || !fs::is_directory(path, unknown)) return std::vector{path};
  try {
    auto files = recursive ? document_files(fs::recursive_directory_iterator(path))
                           : document_files(fs::directory_iterator(path));
    if (files.empty()) {
      return fail(ErrorCode::kInvalid, "{}: there is no *.yaml, *.yml or *.json in this folder{}", path,
                  recursive ? "" : " (-R looks into the folders in it as well)");
    }
    return files;
  } catch (const fs::filesystem_error& error) {
    return fail(ErrorCode::kInvalid, "{}: {}", path, error.code().message());
  }
}

Complaint complaint_about(const Document& document, const Validated& validated, std::string path,
                          std::string value, std::string rule) {
  Complaint complaint;
  complaint.file = document.file;
  const auto line = document.line_of.find(path);
  complaint.line = line == document.line_of.end() ? document.line : line->second;
  if (validated.key) complaint.object = validated.key->to_string();
  complaint.field_path = std::move(path);
  complaint.value = std::move(value);
  complaint.rule = std::move(rule);
  return complaint;
}

std::optional<Kind> kind_of(const boost::json::object& object) {
  const auto* version = object.if_contains("apiVersion");
  const auto* kind = object.if_contains("kind");
  if (!version || !kind || !version->is_string() || !kind->is_string()) return {};
  return find_kind(version->get_string(), kind->get_string());
}

// Fills in the namespace of a document that has none, as kubectl and calicoctl do.
void default_namespace(Document& document, const std::string& ns) {
  const auto kind = kind_of(document.json);
  if (!kind || !info(*kind).namespaced) return;
  auto* metadata = document.json.if_contains("metadata");
  auto* fields = metadata ? metadata->if_object() : nullptr;
  if (fields && !fields->contains("namespace")) (*fields)["namespace"] = ns.empty() ? "default" : ns;
}

class InputReader {
 public:
  explicit InputReader(const FileOptions& options) : options_(options) {}

  void read(const std::string& file) {
    const auto text = read_text(file);
    if (!text) {
      inputs_.errors.push_back(text.error());
      return;
    }
    ReadDocuments read = read_documents(*text, file == "-" ? "stdin" : file);
    const auto before = static_cast<std::ptrdiff_t>(inputs_.complaints.size());
    std::ranges::move(read.complaints, std::back_inserter(inputs_.complaints));
    for (Document& document : read.documents) take(document);
    std::ranges::sort(
        inputs_.complaints.begin() + before, inputs_.complaints.end(), {},
        [](const Complaint& complaint) { return std::tie(complaint.line, complaint.field_path); });
  }

  void fail_with(Error error) { inputs_.errors.push_back(std::move(error)); }

  Inputs done() {
    if (inputs_.ok() && inputs_.objects.empty()) {
      inputs_.errors.push_back({ErrorCode::kInvalid, "there is no object in what was given with -f"});
    }
    // By kind, and among themselves as they were written.
    std::ranges::sort(inputs_.objects, {},
                      [](const Input& input) { return std::tuple(rank_of(input.key.kind), input.position); });
    return std::move(inputs_);
  }

 private:
  void take(Document& document) {
    default_namespace(document, options_.ns);
    Validated validated = validate(document);
    const bool ok = validated.ok();
    std::ranges::copy(validated.complaints, std::back_inserter(inputs_.complaints));
    std::ranges::copy(validated.warnings, std::back_inserter(inputs_.warnings));
    if (!ok || !validated.key) return;
    const ResourceKey key = *validated.key;
    if (!options_.ns.empty() && !key.ns.empty() && key.ns != options_.ns) {
      inputs_.complaints.push_back(
          complaint_about(document, validated, "metadata.namespace", fmt::format("\"{}\"", key.ns),
                          fmt::format("must be the namespace given with -n, {}", options_.ns)));
      return;
    }
    const auto [first, is_new] = places_.emplace(key, fmt::format("{}:{}", document.file, document.line));
    if (!is_new) {
      inputs_.complaints.push_back(
          complaint_about(document, validated, "metadata.name", fmt::format("\"{}\"", key.name),
                          fmt::format("the same object stands at {} already", first->second)));
      return;
    }
    const std::size_t position = inputs_.objects.size();
    inputs_.objects.push_back({key, std::move(validated.json), document.file, document.line, position});
  }

  const FileOptions& options_;
  Inputs inputs_;
  std::map<ResourceKey, std::string> places_;
};

}  // namespace

void add_file_options(CLI::App& command, FileOptions& options, bool required) {
  auto* files = command
                    .add_option("-f,--filename", options.paths,
                                "Files, folders (their *.yaml, *.yml and *.json) or - for standard input")
                    ->type_name("FILE")
                    ->delimiter(',');
  if (required) files->required();
  command.add_flag("-R,--recursive", options.recursive, "Look into the folders inside folders as well");
}

Inputs read_inputs(const FileOptions& options) {
  InputReader reader(options);
  for (const std::string& path : options.paths) {
    const auto files = expand(path, options.recursive);
    if (!files) {
      reader.fail_with(files.error());
      continue;
    }
    for (const std::string& file : *files) reader.read(file);
  }
  return reader.done();
}

void print_complaints(const Inputs& inputs) {
  std::fflush(stdout);
  for (const Complaint& complaint : inputs.complaints) fmt::print(stderr, "{}\n", complaint.to_string());
  for (const Error& error : inputs.errors) print_error(error);
}

void print_warnings(const Inputs& inputs) {
  for (const Complaint& warning : inputs.warnings) print_warning(warning.to_string());
}

Result<std::string> read_text(const std::string& path) {
  UniqueFd file;
  if (path != "-") {
    file = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail_errno(fmt::format("cannot read {}", path), errno);
  }
  std::string text;
  std::array<char, 64 * 1024> piece;
  while (true) {
    const auto got = ::read(file ? file.get() : STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(fmt::format("cannot read {}", path), errno);
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() > kMostText) {
      return fail(ErrorCode::kInvalid, "{}: larger than {} MiB; split it into several files", path,
                  kMostText >> 20);
    }
  }
}

int rank_of(Kind kind) {
  // Policy before the workloads it is for, so that none is ever without.
  constexpr std::array kOrder{
      Kind::kFelixConfiguration,
      Kind::kBgpConfiguration,
      Kind::kBgpFilter,
      Kind::kBgpPeer,
      Kind::kAgentConfiguration,
      Kind::kTier,
      Kind::kNamespace,
      Kind::kServiceAccount,
      Kind::kProfile,
      Kind::kIpPool,
      Kind::kNode,
      Kind::kNetworkSet,
      Kind::kGlobalNetworkSet,
      Kind::kEndpointSlice,
  };
  constexpr std::array kLast{Kind::kHostEndpoint, Kind::kWorkloadEndpoint, Kind::kPod, Kind::kAgentStatus};
  if (const auto it = std::ranges::find(kOrder, kind); it != kOrder.end())
    return static_cast<int>(it - kOrder.begin());
  if (const auto it = std::ranges::find(kLast, kind); it != kLast.end()) {
    return static_cast<int>(kOrder.size()) + 1 + static_cast<int>(it - kLast.begin());
  }
  return static_cast<int>(kOrder.size());
}

}  // namespace ocicat::cli
