// One measurement of llama.cpp's C library: prints one line of JSON. Built by build_llama_c.mjs against the headers of the same release.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "llama.h"

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "llama_c: %s\n", why.c_str());
  std::exit(1);
}

class Options {
 public:
  Options(int count, char** values) {
    for (int i = 1; i + 1 < count; i += 2) {
      std::string name = values[i];
      if (name.rfind("--", 0) != 0) fail("expected --name value, found \"" + name + "\"");
      values_[name.substr(2)] = values[i + 1];
    }
  }
  std::string text(const std::string& name, const std::string& otherwise = "") const {
    auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }
  int number(const std::string& name, int otherwise) const {
    auto found = values_.find(name);
    return found == values_.end() ? otherwise : std::atoi(found->second.c_str());
  }

 private:
  std::map<std::string, std::string> values_;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// The same prompts as prompts.mjs: letters, one token each.
std::vector<llama_token> prompt_of(int stream, int length) {
  static const char kLetters[] = "abcdefgijklmnopqrstuvwxyz ";
  std::vector<llama_token> tokens(length);
  uint32_t state = 12345u + 7919u * static_cast<uint32_t>(stream);
  for (auto& token : tokens) {
    state = state * 1664525u + 1013904223u;
    char letter = kLetters[(state >> 16) % 26];
    token = letter == ' ' ? 3 + 32 : 3 + letter;
  }
  return tokens;
}

llama_token greedy(const float* logits, int vocabulary) {
  return static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits);
}

// Tokens of several streams on their way into one llama_decode.
class Batch {
 public:
  explicit Batch(int capacity) : batch_(llama_batch_init(capacity, 0, 1)) {}
  ~Batch() { llama_batch_free(batch_); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  void clear() { batch_.n_tokens = 0; }
  void add(llama_token token, int position, int stream, bool output) {
    int at = batch_.n_tokens++;
    batch_.token[at] = token;
    batch_.pos[at] = position;
    batch_.n_seq_id[at] = 1;
    batch_.seq_id[at][0] = stream;
    batch_.logits[at] = output;
  }
  void decode(llama_context* context) {
    int code = llama_decode(context, batch_);
    if (code != 0) fail("llama_decode gave " + std::to_string(code));
  }

 private:
  llama_batch batch_;
};

// Streams that share a context. `adapters` is empty, or has one adapter a stream (then each stream is decoded by itself).
class Group {
 public:
  Group(llama_model* model, const Options& options, int length, int streams, int threads, ggml_threadpool* pool)
      : streams_(streams), vocabulary_(llama_vocab_n_tokens(llama_model_get_vocab(model))), batch_(std::max(512, streams)) {
    llama_context_params params = llama_context_default_params();
    int padded = (length + 255) / 256 * 256;
    params.n_ctx = padded * streams;
    params.n_batch = params.n_ubatch = 512;
    params.n_seq_max = streams;
    params.n_threads = params.n_threads_batch = threads;
    params.kv_unified = options.number("unified", 0) != 0;
    context_ = llama_init_from_model(model, params);
    if (!context_) fail("no context for " + std::to_string(streams) + " streams of " + std::to_string(padded) + " tokens");
    if (pool) llama_attach_threadpool(context_, pool, pool);
  }
  ~Group() { llama_free(context_); }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  void use(llama_adapter_lora* adapter) {
    float scale = 1;
    if (llama_set_adapters_lora(context_, &adapter, 1, &scale) != 0) fail("the adapter was refused");
  }
  void begin(int first_stream, int length, bool keep_last) {
    llama_memory_clear(llama_get_memory(context_), true);
    next_.assign(streams_, 0);
    for (int stream = 0; stream < streams_; ++stream) {
      if (!adapters.empty()) use(adapters[stream]);
      std::vector<llama_token> prompt = prompt_of(first_stream + stream, length);
      for (int start = 0; start < length; start += 512) {
        int end = std::min(length, start + 512);
        batch_.clear();
        for (int i = start; i < end; ++i) batch_.add(prompt[i], i, stream, i + 1 == length);
        batch_.decode(context_);
      }
      if (keep_last) next_[stream] = greedy(llama_get_logits_ith(context_, -1), vocabulary_);
    }
    position_ = length;
  }
  void step() {
    if (adapters.empty()) {
      batch_.clear();
      for (int stream = 0; stream < streams_; ++stream) batch_.add(next_[stream], position_, stream, true);
      batch_.decode(context_);
      for (int stream = 0; stream < streams_; ++stream) next_[stream] = greedy(llama_get_logits_ith(context_, stream), vocabulary_);
    } else {
      for (int stream = 0; stream < streams_; ++stream) {
        use(adapters[stream]);
        batch_.clear();
        batch_.add(next_[stream], position_, stream, true);
        batch_.decode(context_);
        next_[stream] = greedy(llama_get_logits_ith(context_, 0), vocabulary_);
      }
    }
    ++position_;
  }
  const std::vector<llama_token>& next() const { return next_; }
  const float* last_logits() const { return llama_get_logits_ith(context_, -1); }
  int vocabulary() const { return vocabulary_; }

  std::vector<llama_adapter_lora*> adapters;

 private:
  int streams_;
  int vocabulary_;
  Batch batch_;
  llama_context* context_ = nullptr;
  std::vector<llama_token> next_;
  int position_ = 0;
};

ggml_threadpool* make_pool(int threads) {
  auto* device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  auto make = reinterpret_cast<decltype(&ggml_threadpool_new)>(
      ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_threadpool_new"));
  if (!make) fail("the CPU backend has no ggml_threadpool_new");
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  return make(&params);
}

}  // namespace

int main(int count, char** values) {
  Options options(count, values);
  const std::string job = options.text("job", "decode");
  const std::string arrangement = options.text("arrangement", "contexts");
  const int threads = options.number("threads", 2);
  const int streams = options.number("batch", 1);
  const int steps = options.number("steps", 32);
  const int repeats = options.number("repeats", 5);
  const int prompt = options.number("prompt", job == "prefill" ? 512 : 64);
  const std::string adapter_list = options.text("adapters");

  llama_log_set([](ggml_log_level level, const char* text, void*) {
    if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
  }, nullptr);
  ggml_backend_load_all_from_path(options.text("libraries").c_str());
  llama_backend_init();
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  auto load_start = Clock::now();
  llama_model* model = llama_model_load_from_file(options.text("model").c_str(), params);
  if (!model) fail("cannot load " + options.text("model"));
  double load_seconds = seconds_since(load_start);

  std::vector<llama_adapter_lora*> adapters;
  for (size_t start = 0; start < adapter_list.size();) {
    size_t end = std::min(adapter_list.find(',', start), adapter_list.size());
    std::string file = adapter_list.substr(start, end - start);
    adapters.push_back(llama_adapter_lora_init(model, file.c_str()));
    if (!adapters.back()) fail("cannot load the adapter " + file);
    start = end + 1;
  }
  const bool mixed = !adapters.empty() && job != "prefill";
  if (mixed && static_cast<int>(adapters.size()) != streams) {
    fail(std::to_string(adapters.size()) + " adapters for " + std::to_string(streams) + " streams; expected as many");
  }

  // contexts: one context a stream. switch: one context, its adapter changed before every stream. threads: one context a stream,
  // divided among threads that compute alone.
  const bool divided = mixed && arrangement == "threads";
  std::vector<ggml_threadpool*> pools;
  std::vector<std::vector<Group*>> lanes(divided ? threads : 1);
  int pool_threads = divided ? 1 : threads;
  for (size_t lane = 0; lane < lanes.size(); ++lane) pools.push_back(options.number("pool", 1) && pool_threads > 1 ? make_pool(pool_threads) : nullptr);
  if (mixed && arrangement != "switch") {
    for (int stream = 0; stream < streams; ++stream) {
      size_t lane = stream % lanes.size();
      lanes[lane].push_back(new Group(model, options, prompt + steps, 1, pool_threads, pools[lane]));
      lanes[lane].back()->use(adapters[stream]);
    }
  } else {
    lanes[0].push_back(new Group(model, options, prompt + steps, streams, threads, pools[0]));
    if (mixed) lanes[0].back()->adapters = adapters;
    else if (!adapters.empty()) lanes[0].back()->use(adapters[0]);
  }

  if (job == "logits") {  // for the check against PyTorch: the last logits of the prompt, then greedy tokens
    Group& group = *lanes[0][0];
    group.begin(0, prompt, true);
    std::printf("{\"logits\":[");
    for (int i = 0; i < group.vocabulary(); ++i) std::printf(i ? ",%.6g" : "%.6g", group.last_logits()[i]);
    std::printf("],\"tokens\":[%d", group.next()[0]);
    for (int step = 1; step < steps; ++step) {
      group.step();
      std::printf(",%d", group.next()[0]);
    }
    std::printf("]}\n");
    return 0;
  }

  auto in_lanes = [&](auto work) {
    std::vector<std::thread> others;
    for (size_t lane = 1; lane < lanes.size(); ++lane) others.emplace_back([&, lane] { work(lane); });
    work(0);
    for (auto& other : others) other.join();
  };
  std::vector<double> rates;
  for (int repeat = -1; repeat < repeats; ++repeat) {  // the first one warms up
    double taken;
    if (job == "prefill") {
      auto start = Clock::now();
      lanes[0][0]->begin(repeat + 1, prompt, false);
      taken = seconds_since(start);
    } else {
      int stream = 0;
      for (auto& lane : lanes) {
        for (Group* group : lane) group->begin(stream++, prompt, true);
      }
      int counted = repeat < 0 ? std::min(steps, 4) : steps;
      auto start = Clock::now();
      in_lanes([&](size_t lane) {
        for (int step = 0; step < counted; ++step) {
          for (Group* group : lanes[lane]) group->step();
        }
      });
      taken = seconds_since(start);
    }
    if (repeat >= 0) rates.push_back((job == "prefill" ? static_cast<double>(prompt) * streams : static_cast<double>(steps) * streams) / taken);
  }
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::printf("{\"driver\":\"llama_c\",\"version\":\"%s\",\"tokensPerSecond\":%.4f,\"repeats\":[", llama_version(), median(rates));
  for (size_t i = 0; i < rates.size(); ++i) std::printf(i ? ",%.4f" : "%.4f", rates[i]);
  std::printf("],\"peakRssBytes\":%ld,\"loadSeconds\":%.4f}\n", usage.ru_maxrss * 1024L, load_seconds);
  return 0;
}
