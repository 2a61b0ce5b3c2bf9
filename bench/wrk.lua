-- What wrk sends besides the address. A secret comes by the environment, which other people on the
-- machine can't see, unlike the command line.
wrk.headers["Authorization"] = os.getenv("BENCH_AUTHORIZATION")
wrk.headers["Git-Protocol"] = os.getenv("BENCH_GIT_PROTOCOL")
wrk.headers["Content-Type"] = os.getenv("BENCH_CONTENT_TYPE")
wrk.body = os.getenv("BENCH_BODY")
if wrk.body then wrk.method = "POST" end
